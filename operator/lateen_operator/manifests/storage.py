"""Volumes, mounts, and whether what must outlive a pod lies on something that does.

Pods come and go, so the folder of a run, the default on one machine, is no place for checkpoints in a cluster: they
belong into a bucket or onto a volume that all pods of the job see.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lateen_api.errors import JobError
from lateen_api.spec import ComputeSpec, JobSpec
from lateen_api.wording import closest, listing, show

from lateen_operator.names import CONTAINER

JOB_FOLDER = "/etc/lateen"
RUN_FOLDER = "/run/lateen"
OWN_FOLDERS = {"lateen-job": JOB_FOLDER, "lateen-run": RUN_FOLDER, "lateen-tmp": "/tmp", "lateen-shm": "/dev/shm"}
"""Volumes that every trainer has, and where."""

CACHE = "cache"
"""Folder of tokenised text below the checkpoints', where the job names none."""

PROGRAMS = "xla"
"""Folder of compiled programs below the checkpoints'."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PATTERN_BEGINS = re.compile(r"[*?\[{]")
_PASSING = ("emptyDir", "ephemeral")
_READ_ONLY = ("configMap", "secret", "downwardAPI", "projected", "image")


@dataclass(frozen=True)
class Mount:
    """One place where the trainer sees a volume."""

    path: PurePosixPath
    volume: str
    kind: str
    """Field of the volume that says what it is: `persistentVolumeClaim`, `nfs`, …"""

    read_only: bool


def cache_dir(spec: JobSpec) -> str | None:
    """Where tokenised text is kept: as the job says, or `cache` below its checkpoints; None: it names neither."""
    return spec.data.cache_dir or (below(spec.checkpoint.path, CACHE) if spec.checkpoint.path else None)


def run_dir(checkpoints: str | None) -> str:
    """Where metrics.jsonl and the summary are written: into the folder of the checkpoints, so that they outlive the
    pods. Lines cannot be added to an object of a bucket: there they stay in the pod and go with it, and Prometheus has
    the figures."""
    path = None if checkpoints is None else local_path(checkpoints)
    return RUN_FOLDER if path is None else path


def programs_dir(checkpoints: str) -> str:
    """Where compiled programs outlive the pods; empty for a bucket, since jax may not be able to write to it."""
    path = local_path(checkpoints)
    return "" if path is None else below(path, PROGRAMS)


def below(folder: str, name: str) -> str:
    """`name` below a folder that is a path or URL."""
    return folder.rstrip("/") + "/" + name if not folder.endswith("://") else folder + name


def local_path(place: str) -> str | None:
    """The path of a place in the pod's own file system; None: a URL of another kind."""
    match = _URL.fullmatch(place)
    if match is None:
        return place
    return match[2] if match[1].lower() == "file" else None


def check_storage(spec: JobSpec) -> list[JobError]:
    """All that is wrong with volumes, mounts and the paths that should lie on them."""
    errors = list(_check_volumes(spec.compute))
    if errors:
        return errors
    mounts = mounts_of(spec.compute)
    checks = [_written(spec.checkpoint.path, "spec.checkpoint.path", mounts, missing=_MISSING)]
    if spec.data.cache_dir:
        checks.append(_written(spec.data.cache_dir, "spec.data.cacheDir", mounts))
    if spec.export.hugging_face:
        checks.append(_written(spec.export.hugging_face, "spec.export.huggingFace", mounts))
    if spec.trainer.initialize_from:
        checks.append(_read(spec.trainer.initialize_from, "spec.trainer.initializeFrom", mounts))
    if spec.data.tokenizer.startswith(("/", "./", "../", "~")):
        checks.append(_read(spec.data.tokenizer, "spec.data.tokenizer", mounts))
    for field, patterns in (("trainUrls", spec.data.train_urls), ("validationUrls", spec.data.validation_urls)):
        checks += [
            _read(pattern, f"spec.data.{field}[{index}]", mounts)
            for index, pattern in enumerate(patterns)
            if not pattern.startswith("!")
        ]
    return [error for error in checks if error is not None]


def mounts_of(compute: ComputeSpec) -> list[Mount]:
    """The job's own mounts in its trainers, those of podTemplate too."""
    kinds = {
        volume["name"]: next((key for key in volume if key != "name"), "emptyDir") for volume in _all_volumes(compute)
    }
    return [
        Mount(
            PurePosixPath(mount["mountPath"]),
            mount["name"],
            kinds.get(mount["name"], "unknown"),
            bool(mount.get("readOnly")) or kinds.get(mount["name"]) in _READ_ONLY,
        )
        for mount in _all_mounts(compute)
    ]


_MISSING = (
    "missing: pods come and go, so checkpoints need a place that outlives them. "
    "Add a bucket such as gs://bucket/run, or a folder below one of spec.compute.volumeMounts."
)


def _written(place: str | None, field: str, mounts: list[Mount], missing: str = "") -> JobError | None:
    if place is None:
        return JobError(field, missing)
    match = _URL.fullmatch(place)
    scheme = match[1].lower() if match else "file"
    if scheme not in ("file", "gs"):
        hint = " Did you mean gs://?" if scheme == "gcs" else " Use one of these."
        return JobError(
            field, f"{show(place)} cannot be written to: expected a path, file:///path or gs://bucket/path.{hint}"
        )
    return _on_a_mount(local_path(place), place, field, mounts, writes=True)


def _read(pattern: str, field: str, mounts: list[Mount]) -> JobError | None:
    return _on_a_mount(local_path(pattern), pattern, field, mounts, writes=False)


def _on_a_mount(path: str | None, place: str, field: str, mounts: list[Mount], *, writes: bool) -> JobError | None:
    if path is None:
        return None
    literal = _PATTERN_BEGINS.split(path, maxsplit=1)[0]
    if not literal.startswith("/"):
        remedy = "Give the whole path below one of spec.compute.volumeMounts, or a URL."
        return JobError(field, f"{show(place)} is relative to a folder that pods do not share. {remedy}")
    folder = PurePosixPath(literal)
    if ".." in folder.parts:
        return JobError(field, f"{show(place)} goes upwards with '..': expected a plain path. Write it out.")
    over = [mount for mount in mounts if folder.is_relative_to(mount.path)]
    if not over:
        paths = [str(mount.path) for mount in mounts]
        wanted = f": expected a path below {listing(paths)}" if paths else ": spec.compute.volumeMounts has none"
        return JobError(
            field,
            f"{show(place)} lies on no volume{wanted}. "
            "Mount one there (spec.compute.volumes and volumeMounts), or give a URL.",
        )
    mount = max(over, key=lambda one: len(one.path.parts))
    if mount.kind in _PASSING:
        return JobError(
            field,
            f"{show(place)} lies on the volume {show(mount.volume)}, whose {mount.kind} goes with its pod. "
            "Use a volume that outlives pods and that all of them see, such as a persistentVolumeClaim, or a URL.",
        )
    if writes and mount.read_only:
        return JobError(
            field,
            f"{show(place)} lies on the volume {show(mount.volume)}, which is mounted read-only: expected one that "
            "can be written to. Remove readOnly, or name another place.",
        )
    return None


def _check_volumes(compute: ComputeSpec) -> Iterator[JobError]:
    names = []
    for index, volume in enumerate(compute.volumes):
        where = f"spec.compute.volumes[{index}]"
        name = volume.get("name")
        if not isinstance(name, str) or len(volume) != 2:
            what = "a name and one kind, such as {name: data, persistentVolumeClaim: {claimName: data}}"
            yield JobError(where, f"{show(volume)} is no volume: expected {what}. Correct it.")
        elif name in OWN_FOLDERS:
            yield JobError(f"{where}.name", f"{show(name)} is the name of a volume that every trainer has. Rename it.")
        elif name in names:
            yield JobError(f"{where}.name", f"{show(name)} is the name of two volumes. Rename one.")
        names.append(name)
    paths: list[PurePosixPath] = []
    known = [volume.get("name") for volume in _all_volumes(compute)]
    for index, mount in enumerate(compute.volume_mounts):
        where = f"spec.compute.volumeMounts[{index}]"
        name, path = mount.get("name"), mount.get("mountPath")
        if not isinstance(name, str) or not isinstance(path, str):
            yield JobError(where, f"{show(mount)} is no mount: expected name and mountPath. Add what is missing.")
        elif name not in known:
            near = closest(name, [one for one in known if isinstance(one, str)])
            hint = f"Did you mean {show(near)}?" if near else "Add the volume to spec.compute.volumes."
            yield JobError(f"{where}.name", f"{show(name)} is no volume of the job. {hint}")
        elif not path.startswith("/"):
            yield JobError(f"{where}.mountPath", f"{show(path)} is relative: expected a path that begins with '/'.")
        elif str(PurePosixPath(path)) in OWN_FOLDERS.values():
            yield JobError(f"{where}.mountPath", f"{show(path)} is a folder of the trainer's own. Mount it elsewhere.")
        elif PurePosixPath(path) in paths:
            yield JobError(f"{where}.mountPath", f"{show(path)} is mounted twice. Remove one of the two.")
        else:
            paths.append(PurePosixPath(path))


def _all_volumes(compute: ComputeSpec) -> list[Mapping[str, Any]]:
    return [*compute.volumes, *_named(_pod_spec(compute).get("volumes"), "name")]


def _all_mounts(compute: ComputeSpec) -> list[Mapping[str, Any]]:
    trainers = [c for c in _named(_pod_spec(compute).get("containers"), "name") if c["name"] == CONTAINER]
    more = [mount for trainer in trainers for mount in _named(trainer.get("volumeMounts"), "mountPath")]
    return [*compute.volume_mounts, *(mount for mount in more if isinstance(mount.get("name"), str))]


def _pod_spec(compute: ComputeSpec) -> Mapping[str, Any]:
    spec = compute.pod_template.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _named(items: Any, key: str) -> list[Mapping[str, Any]]:
    """The entries of a list that are mappings with a text under `key`; a list of another form has none."""
    listed = items if isinstance(items, list) else []
    return [item for item in listed if isinstance(item, Mapping) and isinstance(item.get(key), str)]
