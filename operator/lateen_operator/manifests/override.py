"""`spec.compute.podTemplate`: merged into the pods last, for what has no field of its own.

Mappings are merged key by key, and `$remove` or null takes a key out. Lists whose entries have a name (containers,
volumes, env) are merged by it, mounts by their path; other lists are replaced. What the contract between operator and
trainer rests on cannot be overridden.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lateen_api.errors import JobError
from lateen_api.wording import closest, listing, show

from lateen_operator import names
from lateen_operator.manifests.environ import is_own_variable
from lateen_operator.manifests.labels import check_labels, check_name, check_value
from lateen_operator.manifests.storage import OWN_FOLDERS

FIELD = "spec.compute.podTemplate"
REMOVE = "$remove"
"""In place of a value: takes the key out. null does as well, but `kubectl apply` without --server-side drops it."""


_MERGED_BY = {"volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort"}
_SELECTOR = f"{FIELD}.spec.nodeSelector"
_LARGEST_ANNOTATIONS = 256 * 1024
_OWN_PREFIXES = (names.PREFIX, names.JOBSET_PREFIX, "batch.kubernetes.io/")
_BY_JOBSET = "JobSet and its Jobs set it"
_OF_SPEC: Mapping[str, str] = {
    "restartPolicy": "an attempt ends with its first process, and the operator starts the next",
    "terminationGracePeriodSeconds": "set spec.recovery.graceSeconds",
    "automountServiceAccountToken": "trainers hold no Kubernetes credentials",
    "activeDeadlineSeconds": "stop the job by `lateen stop`, or give it fewer steps",
    "hostname": _BY_JOBSET,
    "subdomain": _BY_JOBSET,
    "setHostnameAsFQDN": _BY_JOBSET,
    "serviceAccountName": "set spec.compute.serviceAccount",
    "priorityClassName": "set spec.compute.priorityClass",
    "nodeName": "set spec.compute.nodeSelector",
}
_OF_TRAINER: Mapping[str, str] = {
    "command": "it is the trainer's; give spec.compute.image for another trainer",
    "args": "they are the trainer's; give spec.compute.image for another trainer",
    "image": "set spec.compute.image",
    "imagePullPolicy": "set spec.compute.imagePullPolicy",
    "terminationMessagePath": "the operator reads there why a process ended",
    "terminationMessagePolicy": "the operator reads there why a process ended",
    "livenessProbe": "the trainer watches over itself (spec.recovery.hangAfter), and Kubernetes must not restart it",
    "restartPolicy": "an attempt ends with its first process, and the operator starts the next",
}


def merged(base: Any, override: Any, key: str = "") -> Any:
    """`base` with `override` merged into it; neither is changed."""
    if isinstance(override, Mapping):
        # What is new may hold keys to take out, too: they take out nothing, but must not reach the pods.
        result = dict(base) if isinstance(base, Mapping) else {}
        for name, value in override.items():
            if value is None or value == REMOVE:
                result.pop(name, None)
            else:
                result[name] = merged(result.get(name), value, name)
        return result
    if isinstance(override, list):
        identity = _MERGED_BY.get(key, "name")
        if isinstance(base, list) and _all_have(identity, base) and _all_have(identity, override):
            return _merged_by(identity, base, override)
        return [merged(None, item) for item in override]
    return copy.deepcopy(override)


def _with_nulls(override: Any) -> Any:
    """The same with null for each `$remove`: so checks know one way only of taking a key out."""
    if isinstance(override, Mapping):
        return {name: None if value == REMOVE else _with_nulls(value) for name, value in override.items()}
    if isinstance(override, list):
        return [_with_nulls(item) for item in override]
    return override


def _all_have(identity: str, items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) and identity in item for item in items)


def _merged_by(identity: str, base: list[Any], override: list[Any]) -> list[Any]:
    result = {item[identity]: item for item in base}
    for item in override:
        result[item[identity]] = merged(result.get(item[identity]), item)
    return list(result.values())


def check_override(template: Mapping[str, Any]) -> list[JobError]:
    """What in a podTemplate is no part of one, or would break the contract."""
    template = _with_nulls(template)
    errors = list(_unknown(template, ("metadata", "spec"), FIELD))
    metadata, spec = template.get("metadata"), template.get("spec")
    errors += _check_metadata(metadata)
    if spec is None:
        return errors
    if not isinstance(spec, Mapping):
        return [*errors, JobError(f"{FIELD}.spec", f"{show(spec)} is not valid: expected a mapping. Correct it.")]
    errors += _kept(spec, _OF_SPEC, f"{FIELD}.spec")
    selector = spec.get("nodeSelector")
    if isinstance(selector, Mapping):
        errors += check_labels({name: value for name, value in selector.items() if value is not None}, _SELECTOR)
    for part in ("containers", "initContainers", "volumes"):
        errors += _check_names(spec.get(part), f"{FIELD}.spec.{part}")
    if not errors:
        errors += _check_containers(spec)
        errors += [
            JobError(f"{FIELD}.spec.volumes", f"{show(volume['name'])} is a volume of the trainer's own. Rename it.")
            for volume in spec.get("volumes") or []
            if volume["name"] in OWN_FOLDERS
        ]
    return errors


def _check_metadata(metadata: Any) -> Iterator[JobError]:
    where = f"{FIELD}.metadata"
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield JobError(where, f"{show(metadata)} is not valid: expected labels and annotations. Correct it.")
        return
    yield from _unknown(metadata, ("labels", "annotations"), where)
    for part in ("labels", "annotations"):
        entries = metadata.get(part) or {}
        if not isinstance(entries, Mapping):
            yield JobError(f"{where}.{part}", f"{show(entries)} is not valid: expected names and texts. Correct it.")
            continue
        for name, value in entries.items():
            if str(name).startswith((*_OWN_PREFIXES, names.MANAGED_BY_LABEL)):
                yield JobError(f"{where}.{part}", f"{show(name)} belongs to the operator. Remove it.")
            elif value is not None and not isinstance(value, str):
                yield JobError(f"{where}.{part}.{name}", f"{show(value)} is no text. Write it in quotes.")
            else:
                # Kubernetes looks at annotations' names in lower case.
                yield from check_name(str(name) if part == "labels" else str(name).lower(), f"{where}.{part}")
                if part == "labels" and value is not None:
                    yield from check_value(value, f"{where}.{part}.{name}")
        size = sum(len(str(name).encode()) + len(str(value).encode()) for name, value in entries.items())
        if part == "annotations" and size > _LARGEST_ANNOTATIONS:
            yield JobError(
                f"{where}.{part}",
                f"{size:,} bytes are too many: expected {_LARGEST_ANNOTATIONS:,} at most. Shorten them.",
            )


def _check_names(items: Any, where: str) -> Iterator[JobError]:
    if items is None:
        return
    if not isinstance(items, list):
        yield JobError(where, f"{show(items)} is not valid: expected a list. Correct it.")
        return
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            yield JobError(f"{where}[{index}]", "has no name: expected one, by which it is merged. Add it.")


def _check_containers(spec: Mapping[str, Any]) -> Iterator[JobError]:
    where = f"{FIELD}.spec.containers"
    for index, container in enumerate(spec.get("containers") or []):
        if container["name"] != names.CONTAINER:
            yield JobError(
                f"{where}[{index}].name",
                f"{show(container['name'])} is not {names.CONTAINER}: a pod ends when all its containers have ended. "
                "Put a side-car into initContainers with restartPolicy: Always.",
            )
            continue
        yield from _kept(container, _OF_TRAINER, f"{where}[{index}]")
        yield from _check_privilege(container.get("securityContext"), f"{where}[{index}].securityContext")
        yield from _check_entries(container, "env", "name", is_own_variable, f"{where}[{index}]")
        yield from _check_entries(
            container, "volumeMounts", "mountPath", lambda path: path in OWN_FOLDERS.values(), f"{where}[{index}]"
        )
        yield from _check_entries(
            container, "ports", "name", lambda name: name in ("metrics", "coordinator"), f"{where}[{index}]"
        )


def _check_privilege(security: Any, where: str) -> Iterator[JobError]:
    if not isinstance(security, Mapping) or security.get("privileged") is not True:
        return
    if security.get("allowPrivilegeEscalation", False) is False:
        yield JobError(
            f"{where}.allowPrivilegeEscalation",
            "is false, as lateen sets it, and Kubernetes takes no privileged container with that. "
            f"Write {REMOVE} there, or true.",
        )


def _check_entries(
    container: Mapping[str, Any], part: str, identity: str, is_own: Callable[[str], bool], where: str
) -> Iterator[JobError]:
    items = container.get(part)
    if items is None:
        return
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        yield JobError(f"{where}.{part}", f"{show(items)} is not valid: expected a list of mappings. Correct it.")
        return
    for item in items:
        if is_own(str(item.get(identity))):
            yield JobError(f"{where}.{part}", f"{show(item[identity])} belongs to the operator. Remove it.")


def _kept(given: Mapping[str, Any], kept: Mapping[str, str], where: str) -> Iterator[JobError]:
    for name, why in kept.items():
        if name in given:
            yield JobError(
                f"{where}.{name}", f"{show(given[name])} is set, but cannot be overridden: {why}. Remove it."
            )


def _unknown(given: Mapping[str, Any], fields: tuple[str, ...], where: str) -> Iterator[JobError]:
    for name in given:
        if name not in fields:
            near = closest(str(name), fields)
            hint = f"Did you mean {show(near)}?" if near else f"There are {listing(fields, 'and')}."
            yield JobError(f"{where}.{name}", f"unknown field. {hint}")
