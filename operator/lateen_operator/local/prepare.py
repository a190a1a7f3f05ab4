"""A job as it was written → as it runs on this machine: planned, with devices and folders filled in."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen_api.errors import JobError
from lateen_api.files import local_folder, resolve_folder
from lateen_api.masking import masked, without_secrets
from lateen_api.plan import Plan, known_vocab_size, make_plan, read_vocab_size
from lateen_api.spec import LMTrainingJob

from lateen_operator import wording
from lateen_operator.fitting import fitted, with_lanes
from lateen_operator.local.devices import host_environ, with_local_gpus
from lateen_operator.local.folder import RunFolder
from lateen_operator.local.same_run import differences

_BYTES_A_PARAMETER = 4  # float32
_BYTES_A_TRAINED_PARAMETER = 8  # AdamW's two running means
_CHECKPOINTS_AT_A_TIME = 2  # the one before goes when the new one is committed
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Prepared:
    """All that is decided before anything is created."""

    job: LMTrainingJob
    """The job with every default filled in."""

    plan: Plan
    host_environ: list[dict[str, str]]
    """Variables that give each host its devices."""

    warnings: list[str]
    """What should be known about this machine, besides the plan's own warnings."""

    @property
    def where(self) -> str:
        """The devices in words: `2 processes × 1 CPU device`."""
        devices = wording.count(self.plan.devices_per_host, f"{self.plan.accelerator_kind.upper()} device")
        return f"{wording.count(self.plan.processes, 'process', 'processes')} × {devices}"

    def resolved(self) -> dict[str, Any]:
        """The job as job.json holds it. Variables reach the trainer by its environment, so their secrets are masked."""
        plain = self.job.model_dump(mode="json", by_alias=True)
        plain["spec"]["compute"] = without_secrets(plain["spec"]["compute"])
        return plain


def prepare(
    job: LMTrainingJob,
    folder: RunFolder,
    *,
    hosts: int | None,
    cores: int,
    environ: Mapping[str, str],
    stored: dict[str, Any] | None = None,
) -> Prepared:
    """Plans the job for this machine. Creates nothing.

    Args:
        job: as it was written.
        folder: where it will run.
        hosts: hosts instead of those of the job.
        cores: of this machine.
        environ: variables of this process; CUDA_VISIBLE_DEVICES among them limits the GPUs.
        stored: the folder's job.json from earlier runs.

    Raises:
        JobError: the job cannot run, or not on this machine.
    """
    job = with_local_gpus(with_lanes(job, _lanes_of(stored)), hosts, environ)
    hosts = hosts or job.spec.compute.hosts
    # The hosts share the cores. A plan of all cores for each would have them compete.
    tokenizer = job.spec.data.tokenizer
    vocab_size = known_vocab_size(tokenizer) or read_vocab_size(tokenizer)
    plan = make_plan(job, vocab_size=vocab_size, hosts=hosts, cores=max(1, cores // hosts))
    compute = fitted(job.spec.compute, plan)
    environ_by_host = host_environ(compute, environ)
    spec = job.spec
    checkpoints = resolve_folder(spec.checkpoint.path or str(folder.checkpoints), folder.path)
    update = {
        "compute": compute,
        "data": spec.data.model_copy(
            # There are no pods here that tokenize: the trainers do.
            update={
                "cache_dir": resolve_folder(spec.data.cache_dir or str(folder.cache), folder.path),
                "prepare": None,
            }
        ),
        "checkpoint": spec.checkpoint.model_copy(update={"path": checkpoints}),
        "export": spec.export.model_copy(update={"hugging_face": _export_folder(spec.export.hugging_face, folder)}),
        "trainer": spec.trainer.model_copy(update={"lanes": plan.lanes or spec.trainer.lanes}),
    }
    resolved = job.model_copy(update={"spec": spec.model_copy(update=update), "status": None})
    return Prepared(resolved, plan, environ_by_host, _warnings(job, plan, cores))


def check_same_run(stored: dict[str, Any] | None, prepared: Prepared, folder: RunFolder) -> None:
    """Raises JobError when the folder belongs to another job."""
    if stored is None:
        return
    changes = differences(stored, prepared.resolved())
    if changes:
        listed = "\n".join(f"  {field}: {_short(before)} → {_short(after)}" for field, before, after in changes)
        raise JobError(
            wording.shown(folder.path),
            f"the folder belongs to another job. What differs (there → here):\n{listed}\n"
            "Take the old values to go on with it, choose another folder with --run-dir, "
            "or start over with --fresh, which keeps the old folder beside the new one",
        )


def check_fresh(prepared: Prepared, earlier: dict[str, Any] | None, folder: RunFolder) -> None:
    """Raises JobError when checkpoints outside the folder would be continued although the run should start over.

    Args:
        prepared: the run that starts over.
        earlier: the folder's job.json from earlier runs. Of a bucket it tells whether it was the earlier run's.
        folder: of the run.
    """
    place = str(prepared.job.spec.checkpoint.path)
    path = local_folder(place)
    if path is None:
        is_used = place == ((earlier or {}).get("spec", {}).get("checkpoint") or {}).get("path")
    else:
        is_used = not path.is_relative_to(folder.path) and path.is_dir() and any(path.iterdir())
    if is_used:
        raise JobError(
            "spec.checkpoint.path",
            f"{place} lies outside the run's folder, and a run that starts over would go on from what is there; "
            "empty it, or set another path together with --fresh",
        )


def check_disk(prepared: Prepared, folder: RunFolder) -> None:
    """Raises JobError when there is no room for the checkpoints that exist at one time."""
    path = local_folder(str(prepared.job.spec.checkpoint.path))
    if path is None:
        return
    plan = prepared.plan
    checkpoint = plan.parameters * _BYTES_A_PARAMETER + plan.trainable_parameters * _BYTES_A_TRAINED_PARAMETER
    needed = checkpoint * _CHECKPOINTS_AT_A_TIME
    free = shutil.disk_usage(_existing(path)).free
    if free < needed:
        raise JobError(
            "spec.checkpoint.path",
            f"{wording.shown(path)}: the disk has {wording.size(free)} free, and two checkpoints of "
            f"{plan.parameters:,} parameters need {wording.size(needed)}; make room, or choose another "
            "folder with --run-dir",
        )


def cores_of_machine() -> int:
    """Cores that this process may use: taskset and cpusets count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _export_folder(place: str | None, folder: RunFolder) -> str | None:
    return None if place is None else resolve_folder(place, folder.path)


def _lanes_of(stored: dict[str, Any] | None) -> int | None:
    """The lanes in a folder's job.json."""
    return ((stored or {}).get("spec", {}).get("trainer") or {}).get("lanes")


def _warnings(job: LMTrainingJob, plan: Plan, cores: int) -> list[str]:
    warnings = []
    if job.spec.data.prepare is not None:
        warnings.append("spec.data.prepare is not used on this machine: the trainers tokenize.")
    if plan.accelerator_kind != "cpu" or plan.processes <= cores:
        return warnings
    return [
        *warnings,
        f"{plan.processes} processes share {wording.count(cores, 'core')}: fewer --hosts train faster. "
        "The losses are right all the same.",
    ]


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _short(value: Any) -> str:
    text = masked(repr(value))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
