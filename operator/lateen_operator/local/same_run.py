"""Is a job the one that a run's folder belongs to? Some fields may change between two `lateen run`s, most may
not."""

from collections.abc import Iterator
from typing import Any

from lateen_api.masking import masked
from lateen_api.spec import LMTrainingJob
from pydantic import ValidationError

# What neither the model nor the order in which it sees the data depends on.
_FREE = (
    "spec.checkpoint",
    "spec.compute",
    "spec.data.cacheDir",
    "spec.export",
    "spec.recovery",
    "spec.suspend",
    "spec.tracking",
    "spec.trainer.maxEvalBatches",
    "spec.trainer.numTrainSteps",
    "spec.trainer.perDeviceEvalParallelism",
    "spec.trainer.perDeviceParallelism",
    "spec.trainer.stepsPerEval",
    "spec.ttlAfterFinished",
)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of each field in which two resolved jobs (as JSON) are different jobs.

    More steps, other hosts, other budgets or other places for metrics make the same job.
    """
    fields = {"spec": _with_new_fields(before).get("spec")}, {"spec": after.get("spec")}
    return [change for change in _changes("", *fields) if not _is_free(change[0])]


def _with_new_fields(job: dict[str, Any]) -> dict[str, Any]:
    """The job with the defaults of fields that the version which stored it did not have."""
    try:
        return LMTrainingJob.model_validate(job).model_dump(mode="json", by_alias=True)
    except ValidationError:
        return job


def _changes(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _changes(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif _identity(before) != _identity(after):
        yield path, before, after


def _identity(value: Any) -> Any:
    """What makes a value the same: a signature in a URL is renewed every few hours. Whether the data behind it is
    the same is told by its digest, which checkpoints keep."""
    if isinstance(value, list):
        return [_identity(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith(free + ".") for free in _FREE)
