"""The locked dependencies, as `make lock` writes them."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = Path(__file__).parents[1] / "images/requirements"


def locked(name: str) -> dict[str, list[tuple[str, Requirement]]]:
    """(version, whole requirement) of each package of a lock, one for each range of Pythons."""
    found: dict[str, list[tuple[str, Requirement]]] = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            version = str(requirement.specifier).removeprefix("==")
            found.setdefault(canonicalize_name(requirement.name), []).append((version, requirement))
    return found
