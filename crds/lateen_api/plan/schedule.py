"""How many steps the parts of a run have."""

from lateen_api.errors import JobError
from lateen_api.spec import JobSpec, OptimizerSection


def steps_of(length: float, num_steps: int) -> int:
    """A length of the spec in steps: below 1 it is a fraction of the run, from 1 on a number of steps."""
    return round(length * num_steps) if length < 1 else round(length)


def decay_steps(optimizer: OptimizerSection, num_steps: int) -> int:
    """Steps in which the learning rate falls to its end, the last step among them.

    None before the peak: the last step of the warm-up has it, and without a warm-up the first step of the run.
    """
    after_peak = num_steps - max(1, steps_of(optimizer.warmup, num_steps))
    match optimizer.lr_schedule:
        case "wsd":
            return min(after_peak, steps_of(optimizer.decay, num_steps))
        case "cosine" | "linear":
            return after_peak
        case "constant" | "inv_sqrt":
            return 0


def evaluation_count(spec: JobSpec) -> int:
    """Evaluations in a run: one every `stepsPerEval` steps, and one after the last step."""
    if not has_validation(spec):
        return 0
    return -(-spec.trainer.num_train_steps // spec.trainer.steps_per_eval)


def has_validation(spec: JobSpec) -> bool:
    """Is there text to evaluate on?"""
    return any(source.has_validation for source in (spec.data, *spec.data.configs.values()))


def check_schedule(spec: JobSpec) -> list[JobError]:
    """Lengths that are no whole steps, or longer than the run."""
    optimizer, steps = spec.optimizer, spec.trainer.num_train_steps
    errors = []
    for name, length in (("warmup", optimizer.warmup), ("decay", optimizer.decay)):
        if length >= 1 and length != round(length):
            errors.append(
                JobError(
                    f"spec.optimizer.{name}",
                    f"{length:g} is neither a fraction nor a number of steps: expected less than 1, or a whole number. "
                    f"Use {int(length)} or {int(length) + 1}.",
                )
            )
    warmup = steps_of(optimizer.warmup, steps)
    if warmup > steps:
        errors.append(
            JobError(
                "spec.optimizer.warmup",
                f"{warmup:,} steps are longer than the run of {steps:,} (spec.trainer.numTrainSteps): expected at most "
                "that. Shorten the warm-up, or give it as a fraction such as 0.01.",
            )
        )
    elif optimizer.lr_schedule == "wsd" and warmup + steps_of(optimizer.decay, steps) > steps:
        errors.append(
            JobError(
                "spec.optimizer.decay",
                f"{steps_of(optimizer.decay, steps):,} steps and the warm-up of {warmup:,} are longer than the run of "
                f"{steps:,} (spec.trainer.numTrainSteps). Use at most {steps - warmup:,}.",
            )
        )
    return errors
