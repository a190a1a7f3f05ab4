"""How much of a run comes from each source of a mixture."""

from fractions import Fraction

from lateen_api.plan.result import PlannedSource
from lateen_api.spec import JobSpec


def planned_sources(spec: JobSpec) -> list[PlannedSource]:
    """The sources that give sequences to the run, in the order of `configs`; none without a mixture.

    Sequences are shares of the stages' steps, rounded: the trainer keeps to them within one sequence per source and
    stage (`lateen_trainer.data.mixture`), but for the last block of a stage, which is cut off.
    """
    trainer, data = spec.trainer, spec.data
    if not data.configs:
        return []
    steps = [stage.step for stage in data.weight_stages]
    sequences = dict.fromkeys(data.configs, Fraction(0))
    for stage, end in zip(data.weight_stages, [*steps[1:], trainer.num_train_steps], strict=True):
        in_stage = max(0, min(end, trainer.num_train_steps) - stage.step) * trainer.train_batch_size
        weights = {name: Fraction(str(weight)) for name, weight in stage.weights.items()}
        for name, weight in weights.items():
            sequences[name] += in_stage * weight / sum(weights.values())
    total = trainer.num_train_steps * trainer.train_batch_size
    return [
        PlannedSource(name=name, share=float(count / total), sequences=round(count))
        for name, count in sequences.items()
        if count > 0
    ]
