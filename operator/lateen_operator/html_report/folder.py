"""A run as its folder has it: of `lateen run`, or the checkpoint path of a job in a cluster."""

import fcntl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lateen_api.errors import JobError
from lateen_api.files import local_folder
from lateen_api.status import AttemptStatus, JobStatus, TimeStatus

from lateen_operator.attempt_codec import from_status, seconds
from lateen_operator.goodput import goodput, sum_of, time_of
from lateen_operator.html_report.metrics import Metrics, read_metrics
from lateen_operator.html_report.secrets import Mask
from lateen_operator.local import ledger
from lateen_operator.local.folder import RunFolder, read_json
from lateen_operator.local.result import from_older

RUNNING, INTERRUPTED = "Running", "Interrupted"
_STEP_FOLDER = "step-*"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine."""

    step: int
    size: int
    """Bytes."""

    manifest: Mapping[str, Any] | None
    """What its manifest says; None: it has none, so it is not complete."""

    @property
    def created_at(self) -> float:
        """When it was taken: seconds since the epoch; 0: it is not known."""
        return float((self.manifest or {}).get("created") or 0.0)


@dataclass(frozen=True)
class Run:
    """All that the page shows; texts are without secrets."""

    name: str
    place: str
    state: str
    read_at: float
    """Seconds since the epoch."""

    message: str | None = None
    step: int | None = None
    of: int | None = None
    tokens: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    unigram_entropy: float | None = None
    metrics: Metrics = field(default_factory=Metrics)
    attempts: Sequence[AttemptStatus] = ()
    time: TimeStatus | None = None
    goodput: float | None = None
    configuration: Mapping[str, Any] | None = None
    """The job."""

    versions: Mapping[str, str] = field(default_factory=dict)
    checkpoint_path: str | None = None
    checkpoints: Sequence[Checkpoint] = ()
    samples: Sequence[tuple[str, str]] = ()
    """Prompts and what the model made of them."""

    skipped_batches: Sequence[int] = ()
    notes: Sequence[str] = ()
    """What a reader should know about the data."""


def read_run(path: Path, job: Mapping[str, Any] | None = None, *, now: float | None = None) -> Run:
    """The run in a folder.

    Args:
        path: the folder.
        job: the LMTrainingJob, where the folder has no job.json: with its status, from which the attempts are.
        now: seconds since the epoch.

    Raises:
        JobError: there is no such folder, it is none of a run, or a file in it is not what it should be.
        OSError: a file cannot be read.
    """
    now = time.time() if now is None else now
    folder = RunFolder(path)
    _check(folder)
    stored = dict(job or {}) or read_json(folder.job) or {}
    checkpoint_path = _checkpoint_path(stored, folder)
    checkpoints = list(_checkpoints(checkpoint_path))
    manifest = next((of.manifest for of in reversed(checkpoints) if of.manifest is not None), {})
    mask = Mask(stored)
    status = JobStatus.model_validate(stored.get("status") or {})
    in_progress = _is_locked(path / "lock")
    metrics = read_metrics(folder.metrics)
    # A result is of the last command that ended; while another one works, the ledger knows more.
    result = {} if in_progress else from_older(read_json(folder.result) or {})
    known = from_older(read_json(folder.summary) or {}) | result
    attempts = status.attempts or _entries(folder, in_progress)
    spent = status.time or _time(attempts, in_progress, now)
    return Run(
        name=mask.text(_name(stored, known, manifest, path)),
        place=mask.text(str(path)),
        state=status.state or _state(known, attempts, in_progress),
        read_at=now,
        message=_text(mask, _message(known, status, attempts)),
        step=_first(metrics.step, known.get("step"), status.progress and status.progress.step),
        of=_first(known.get("of"), _steps(stored)),
        tokens=_tokens(known, stored, metrics),
        loss=_first(known.get("loss"), metrics.last("loss"), status.progress and status.progress.loss),
        validation_loss=_first(known.get("validationLoss"), metrics.last("validation_loss")),
        unigram_entropy=known.get("unigramEntropy"),
        metrics=metrics,
        attempts=[_masked_entry(entry, mask) for entry in attempts],
        time=spent,
        goodput=status.goodput if status.goodput is not None else spent and goodput(spent),
        configuration=mask.data({key: value for key, value in stored.items() if key != "status"}) or None,
        versions=mask.data((manifest.get("metadata") or {}).get("madeBy") or {}),
        checkpoint_path=_text(mask, checkpoint_path),
        checkpoints=checkpoints,
        samples=[(mask.text(prompt), mask.text(text)) for prompt, text in _samples(known)],
        skipped_batches=known.get("skippedBatches") or (),
        notes=list(_notes(folder, metrics, stored)),
    )


def _name(job: Mapping[str, Any], known: Mapping[str, Any], manifest: Mapping[str, Any], path: Path) -> str:
    names = ((job.get("metadata") or {}).get("name"), known.get("name"), manifest.get("job"), path.absolute().name)
    return str(next(name for name in names if name))


def _check(folder: RunFolder) -> None:
    path = folder.path
    expected = (
        "expected the folder of a `lateen run` (runs/<name of the job>), or the checkpoint path of a job in a cluster, "
        "with a metrics.jsonl, attempts.json or job.json in it"
    )
    if "://" in str(path) or str(path).startswith(("gs:/", "s3:/")):
        raise JobError(str(path), "a report is made from a folder on this machine: copy metrics.jsonl from there first")
    if not path.exists():
        raise JobError(str(path), f"there is no such folder; {expected}")
    if not path.is_dir():
        raise JobError(str(path), f"this is a file; {expected}")
    if not any(file.exists() for file in (folder.metrics, folder.attempts, folder.job, folder.result)):
        raise JobError(str(path), f"this is no run's folder; {expected}")


def _is_locked(path: Path) -> bool:
    """Does a `lateen run` work in the folder?"""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _entries(folder: RunFolder, in_progress: bool) -> list[AttemptStatus]:
    """The ledger. Of an attempt that runs no end is made up."""
    entries = ledger.read_entries(folder)
    if not in_progress and entries and entries[-1].ended is None:
        entries[-1] = ledger.cut_off(entries[-1])
    return entries


def _time(attempts: Sequence[AttemptStatus], in_progress: bool, now: float) -> TimeStatus | None:
    """Where the time of the attempts went; what lies between two `lateen run`s is no part of it."""
    if not attempts:
        return None
    each = []
    for entry in attempts:
        attempt = from_status(entry)
        until = attempt.ended_at or (now if in_progress else attempt.started_at)
        each.append(time_of([attempt], since=attempt.started_at, until=until))
    return sum_of(each)


def _state(known: Mapping[str, Any], attempts: Sequence[AttemptStatus], in_progress: bool) -> str:
    if in_progress:
        return RUNNING
    return str(known.get("state") or (INTERRUPTED if attempts else ""))


def _message(known: Mapping[str, Any], status: JobStatus, attempts: Sequence[AttemptStatus]) -> str | None:
    reported = next((one.message for one in status.conditions if one.status == "True" and one.message), None)
    if known.get("message") or reported:
        return known.get("message") or reported
    last = attempts[-1] if attempts else None
    return last.message if last is not None and last.failure_class not in (None, "Done") else None


def _masked_entry(entry: AttemptStatus, mask: Mask) -> AttemptStatus:
    texts = {"message": _text(mask, entry.message), "checkpoint": _text(mask, entry.checkpoint)}
    return entry.model_copy(update=texts)


def _steps(job: Mapping[str, Any]) -> int | None:
    return ((job.get("spec") or {}).get("trainer") or {}).get("numTrainSteps")


def _tokens(known: Mapping[str, Any], job: Mapping[str, Any], metrics: Metrics) -> int | None:
    spec = job.get("spec") or {}
    batch, length = (spec.get("trainer") or {}).get("trainBatchSize"), (spec.get("model") or {}).get("seqLen")
    counted = metrics.step * batch * length if metrics.step and batch and length else None
    return _first(known.get("tokens"), counted)


def _checkpoint_path(job: Mapping[str, Any], folder: RunFolder) -> str | None:
    written = ((job.get("spec") or {}).get("checkpoint") or {}).get("path")
    if written is None or not Path(str(local_folder(written))).is_dir():
        # A folder that was moved or copied, or a job's checkpoint path itself.
        for place in (folder.checkpoints, folder.path):
            if place.is_dir() and any(place.glob(_STEP_FOLDER)):
                return str(place)
    return written


def _checkpoints(path: str | None) -> Iterator[Checkpoint]:
    folder = None if path is None else local_folder(path)
    for place in sorted(folder.glob(_STEP_FOLDER)) if folder is not None else ():
        number = place.name.removeprefix("step-")
        if not number.isdecimal() or not place.is_dir():
            continue
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        manifest = read_json(place / "manifest.json")
        yield Checkpoint(int(number), size, manifest and manifest.get("body"))


def _samples(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for sample in known.get("samples") or ():
        yield str(sample.get("prompt", "")), str(sample.get("text", ""))
    if not known.get("samples") and known.get("sample"):
        yield "", str(known["sample"])


def _notes(folder: RunFolder, metrics: Metrics, job: Mapping[str, Any]) -> Iterator[str]:
    if not folder.metrics.exists():
        yield "There is no metrics.jsonl: no step was trained, or it lies elsewhere."
    if metrics.torn_lines:
        yield f"{metrics.torn_lines:,} of {metrics.lines:,} lines of metrics.jsonl are no numbers of a step: left out."
    if metrics.not_finite:
        yield f"{metrics.not_finite:,} numbers in metrics.jsonl are not finite: no curve has them."
    if not job:
        yield "There is no job.json, so the configuration is not known; --job takes a job of a cluster."


def _text(mask: Mask, text: str | None) -> str | None:
    return None if text is None else mask.text(text)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def day_and_time(at: float | str) -> str:
    """A point in time for people, in UTC: `2030-01-31 12:00:05`."""
    at = seconds(at) if isinstance(at, str) else at
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
