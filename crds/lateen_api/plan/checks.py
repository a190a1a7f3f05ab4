"""What can be refused by looking at the spec alone."""

from lateen_api.errors import JobError
from lateen_api.plan.architecture import architecture
from lateen_api.plan.mixture_checks import check_hub_fields, check_mixture
from lateen_api.plan.model_checks import check_shapes
from lateen_api.precision import Precision, parse_precision
from lateen_api.spec import DataSpec, ExportSpec, JobSpec, LMTrainingJob
from lateen_api.spec.section import duration_seconds
from lateen_api.wording import closest, listing, show

LONGEST_LABEL = 63
"""Characters of a DNS label, and so of a pod's name in its JobSet's service."""


def check_model(spec: JobSpec, vocab_size: int) -> list[JobError]:
    """Numbers that do not fit each other, and axes that cannot be divided over the mesh."""
    model, trainer = spec.model, spec.trainer
    if errors := check_shapes(model):
        return errors
    shape = architecture(model, vocab_size)
    sizes = shape.sizes
    named = [
        ("spec.trainer.fsdpAxis", trainer.fsdp_axis),
        *((f"spec.trainer.tensorParallelAxes[{i}]", name) for i, name in enumerate(trainer.tensor_parallel_axes)),
    ]
    unknown = [JobError(where, _unknown_axis(name, sizes)) for where, name in named if name not in sizes]
    undivided = [
        JobError(
            "spec.trainer.modelAxisSize",
            f"{trainer.model_axis_size} does not divide the axis {name} ({shape.origins[name]}, {sizes[name]}): "
            "expected a divisor. Change either, or take the axis out of spec.trainer.tensorParallelAxes.",
        )
        for name in trainer.tensor_parallel_axes
        if name in sizes and sizes[name] % trainer.model_axis_size
    ]
    return [*unknown, *undivided]


def _unknown_axis(name: str, sizes: dict[str, int]) -> str:
    meant = closest(name, sizes)
    hint = f"Did you mean {meant}?" if meant else f"There are {listing(list(sizes), 'and')}."
    return f"{show(name)} is not an axis of the parameters. {hint}"


def check_trainer(spec: JobSpec) -> list[JobError]:
    """Zeros where only -1 or a number of sequences means something."""
    return [
        JobError(f"spec.trainer.{name}", "0 is not valid: expected -1 (chosen by the plan) or at least 1. Use -1.")
        for name, value in (
            ("perDeviceParallelism", spec.trainer.per_device_parallelism),
            ("perDeviceEvalParallelism", spec.trainer.per_device_eval_parallelism),
        )
        if value == 0
    ]


def check_durations(spec: JobSpec) -> list[JobError]:
    """Times that must be longer than nothing."""
    return [
        JobError(f"spec.{field}", f"{show(text)} is no time at all: expected more, such as {example}.")
        for field, text, example in (
            ("checkpoint.saveInterval", spec.checkpoint.save_interval, "15m"),
            ("recovery.hangAfter", spec.recovery.hang_after, "10m"),
            ("recovery.heartbeatTimeout", spec.recovery.heartbeat_timeout, "30s"),
            ("recovery.startDeadline", spec.recovery.start_deadline, "30m"),
        )
        if duration_seconds(text) == 0
    ]


def check_export(export: ExportSpec) -> list[JobError]:
    """Steps to export need a folder."""
    if export.every is None or export.hugging_face is not None:
        return []
    message = (
        f"is {export.every:,}, and spec.export.huggingFace, the folder to export to, is missing: expected both. "
        "Add it, or remove every."
    )
    return [JobError("spec.export.every", message)]


def read_precision(spec: JobSpec) -> Precision:
    """The types of `spec.trainer.mp`.

    Raises:
        JobError: it is no such notation.
    """
    try:
        return parse_precision(spec.trainer.mp)
    except ValueError as error:
        raise JobError(
            "spec.trainer.mp",
            f"{show(spec.trainer.mp)} is not valid: {error}. Write f32 or p=f32,c=bfloat16.",
        ) from error


def check_data(data: DataSpec) -> list[JobError]:
    """There must be one kind of source, and weights for sources that exist."""
    where = "spec.data"
    given = [
        name for name, value in (("trainUrls", data.train_urls), ("id", data.id), ("configs", data.configs)) if value
    ]
    if not given:
        return [
            JobError(
                where,
                "nothing to train on: expected trainUrls, id or configs. "
                'Add, for example, `trainUrls: ["corpus/*.jsonl.gz"]`.',
            )
        ]
    if len(given) > 1:
        return [JobError(where, f"has {listing(given, 'and')}: expected one of them. Remove the others.")]
    if errors := check_hub_fields(data, where):
        return errors
    return check_mixture(data)


def check_name(job: LMTrainingJob, slices: int, hosts_per_slice: int) -> list[JobError]:
    """`<name>-a<attempt>-workers-<slice>-<host>-<5 random>` must be a DNS label, in the last attempt too."""
    recovery = job.spec.recovery
    attempts = 1 + recovery.max_failures + recovery.max_preemptions + recovery.max_infrastructure_failures
    # Suspensions and resizes make attempts without a budget, so there is room for 9,999 at least.
    longest = f"-a{max(attempts, 9999)}-workers-{slices - 1}-{hosts_per_slice - 1}-abcde"
    room = LONGEST_LABEL - len(longest)
    name = job.metadata.name
    if len(name) <= room:
        return []
    return [
        JobError(
            "metadata.name",
            f"{show(name)} has {len(name)} characters: expected at most {room}, so that pods' names such as "
            f"{name}{longest} keep within {LONGEST_LABEL}. Use a shorter name.",
        )
    ]
