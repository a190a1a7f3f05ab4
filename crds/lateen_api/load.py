"""A job from a file: `load_job` is the way in for everything that takes a path on the command line."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lateen_api.errors import JobError
from lateen_api.masking import masked_assignment
from lateen_api.os_errors import cause
from lateen_api.spec import KIND, LMTrainingJob
from lateen_api.validation import validate_job
from lateen_api.wording import closest, listing, show
from lateen_api.yaml_reader import read_documents, read_value

LARGEST_FILE = 1 << 20
"""Bytes that a job's file may have: more is certainly the wrong file, and etcd would not take it either."""

_TOP_LEVEL = ("spec", "metadata", "apiVersion", "kind")


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> LMTrainingJob:
    """The job in a YAML (or JSON) file.

    Args:
        path: the file. Of several documents in it, the one LMTrainingJob is taken.
        overrides: fields that are set over those of the file, such as `trainer.seed=3`; see `apply_overrides`.

    Raises:
        JobError: the file cannot be read or is no valid job. Several mistakes come as one JobErrors.
    """
    return parse_job(_read_text(Path(path)), str(path), overrides)


def parse_job(text: str, where: str, overrides: Sequence[str] = ()) -> LMTrainingJob:
    """The job in a YAML (or JSON) text.

    Args:
        text: YAML.
        where: what the text is called in messages; a file name, usually.
        overrides: as for `load_job`.

    Raises:
        JobError: the text is no valid job. Several mistakes come as one JobErrors.
    """
    return validate_job(apply_overrides(_the_job_among(read_documents(text, where), where), overrides), where)


def apply_overrides(data: Any, overrides: Sequence[str]) -> Any:
    """A copy of a job's plain data with some fields set.

    Args:
        data: the resource as YAML gave it.
        overrides: `FIELD=VALUE`, where FIELD is a dotted path as messages name it (`spec.` may be left out) and VALUE
            is YAML: `trainer.seed=3`, `optimizer.learningRate=6e-4`, `data.trainUrls=[a.txt, b.txt]`.

    Raises:
        JobError: an override has no `=`, its value is no YAML, or its path leads through something that has no fields.
    """
    if not isinstance(data, dict):
        return data
    data = copy.deepcopy(data)
    for override in overrides:
        field, equals, text = override.partition("=")
        parts = field.strip().split(".")
        if not equals or not all(parts):
            raise JobError(
                _name(override),
                "expected FIELD=VALUE. Write it like trainer.seed=3, without spaces.",
            )
        path = parts if parts[0] in _TOP_LEVEL else ["spec", *parts]
        _set(data, path, read_value(text, _name(override)))
    return data


def _name(override: str) -> str:
    return f"override {show(masked_assignment(override))}"


def _set(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    section = data
    for depth, part in enumerate(path[:-1], start=1):
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise JobError(
                ".".join(path),
                f"{'.'.join(path[:depth])} is {show(section)}, which has no fields: set it as a whole.",
            )
    section[path[-1]] = value


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise JobError(str(path), "is a folder: expected the YAML file of a job. Name the file in it.")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise JobError(str(path), f"no such file: expected the YAML file of a job. {_near_file(path)}") from error
    except PermissionError as error:
        raise JobError(str(path), "may not be read. Give yourself the right to read it (chmod u+r).") from error
    except OSError as error:
        why = cause(error.errno, elsewhere="name another file") or f"{error.strerror}. Check the path."
        raise JobError(str(path), f"cannot be read: {why}") from error
    if len(content) > LARGEST_FILE:
        raise JobError(
            str(path),
            f"has more than {LARGEST_FILE:,} bytes: expected the YAML file of a job. Check the path.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(
            str(path),
            f"is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}. Save it as UTF-8, or check the path.",
        ) from error


def _near_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    names = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml", ".json")]
    near = closest(path.name, names)
    return f"Did you mean {path.with_name(near)}?" if near else "Check the path."


def _the_job_among(documents: list[Any], where: str) -> Any:
    """The document that is the job."""
    if not documents:
        raise JobError(where, f"is empty: expected an {KIND} with apiVersion, kind, metadata and spec.")
    if len(documents) == 1:
        return documents[0]
    kinds = [document.get("kind") if isinstance(document, dict) else None for document in documents]
    if kinds.count(KIND) != 1:
        found = listing([show(kind) for kind in kinds], "and")
        raise JobError(where, f"holds documents of the kinds {found}: expected exactly one {KIND}. Split the file.")
    return documents[kinds.index(KIND)]
