"""What the documentation shows: YAML examples, jobs and commands."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen_api.yaml_reader import read_documents
from stored_jobs import NANO

_ROOT = Path(__file__).parents[1]
_DOCS = _ROOT / "docs"

FILES = [*sorted(_DOCS.glob("*.md")), *sorted(_DOCS.glob("examples/*.yaml")), _ROOT / "README.md"]
"""Pages and files that show YAML examples."""

PAGES = [*sorted(_DOCS.rglob("*.md")), _ROOT / "README.md", _ROOT / "charts" / "lateen" / "README.md"]
"""All pages."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<'?(\w+)'?$")


@dataclass(frozen=True)
class Command:
    """A command that a page shows."""

    page: Path
    text: str
    """Without its comment; continued lines are joined by a space, a here-document keeps its lines."""


def examples(path: Path) -> Iterator[Any]:
    """The documents of a YAML file, or of the YAML blocks of a page, as kubectl reads them."""
    blocks = [path.read_text()] if path.suffix == ".yaml" else blocks_of(path, "yaml")
    for block in blocks:
        yield from read_documents(block, path.name)


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, job) of each job of the documentation; where it shows a part of a spec, a job that has this part."""
    for path in FILES:
        for number, example in enumerate(examples(path)):
            if (job := _job(example)) is not None:
                yield f"{path.name}-{number}", job


def _job(example: Any) -> dict[str, Any] | None:
    base = copy.deepcopy({key: NANO[key] for key in ("apiVersion", "kind", "spec")})
    if not isinstance(example, dict):
        return None
    if example.get("kind") == "LMTrainingJob":
        return example
    if "kind" in example or not example.keys() <= {*base["spec"], "optimizer", "recovery", "export", "tracking"}:
        return None
    for section, part in example.items():
        # A part that names its machines, or another kind of data, says all of them.
        rest = {} if {"accelerator", "id", "configs"} & part.keys() else base["spec"].get(section, {})
        base["spec"][section] = {**rest, **part}
    return base


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of a page in a language, as they stand."""
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == language]


def block(page: str, start: str) -> str:
    """The block of commands of docs/`page` that begins with `start`. ValueError unless there is exactly one."""
    found = [text for text in blocks_of(_DOCS / page, "bash") if text.startswith(start)]
    if len(found) != 1:
        raise ValueError(f"docs/{page} has {len(found)} blocks of commands that begin with {start!r}: expected one")
    return found[0]


def languages(page: Path) -> set[str]:
    """The languages of a page's blocks; empty for a block without one."""
    return {language for language, _ in _BLOCK.findall(page.read_text())}


def commands(page: Path) -> Iterator[Command]:
    """The commands in a page's blocks of bash, in their order."""
    for text in blocks_of(page, "bash"):
        lines = iter(text.splitlines())
        for line in lines:
            command = _without_comment(line)
            while command.endswith("\\"):
                command = command[:-1].rstrip() + " " + _without_comment(next(lines).strip())
            if heredoc := _HEREDOC.search(command):
                for inner in lines:
                    command += f"\n{inner}"
                    if inner == heredoc[1]:
                        break
            if command:
                yield Command(page, command)


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)#\s.*$", "", line).rstrip()
