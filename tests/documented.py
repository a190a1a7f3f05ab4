"""The YAML examples of the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lateen_api.yaml_reader import read_documents

_DOCS = Path(__file__).parents[1] / "docs"

FILES = [*sorted(_DOCS.glob("*.md")), *sorted(_DOCS.glob("examples/*.yaml")), _DOCS.parent / "README.md"]
"""Pages and files that show some."""


def examples(path: Path) -> Iterator[Any]:
    """The documents of a YAML file, or of the YAML blocks of a page, as kubectl reads them."""
    text = path.read_text()
    blocks = [text] if path.suffix == ".yaml" else re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from read_documents(block, path.name)
