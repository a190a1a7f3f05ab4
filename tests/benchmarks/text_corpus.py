"""Text that every development machine has: files of Python's standard library and of installed packages.

The same machine gives the same documents in the same order. Where more text is wanted than there is, it comes again, in
another order.
"""

import gzip
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import zstandard

SUFFIXES = frozenset({".py", ".pyi", ".rst", ".md", ".txt", ".js", ".h", ".c", ".html", ".css", ".yaml", ".json"})
_LONGEST = 1 << 18
"""Bytes of a file that is taken: larger ones are tables and bundles rather than text."""


def documents(size: int, *, seed: int = 0) -> Iterator[str]:
    """Documents of `size` bytes of UTF-8 or little more."""
    files = sorted(
        path
        for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
        for path in Path(folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file() and 0 < path.stat().st_size <= _LONGEST
    )
    shuffled, written = random.Random(seed), 0
    while True:
        shuffled.shuffle(files)
        for path in files:
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            yield text
            written += len(text.encode())
            if written >= size:
                return


def write_json_lines(folder: Path, size: int, files: int, *, compressed: bool) -> list[Path]:
    """Writes `files` files of JSON lines with `size` bytes of text together; .gz and .zst in turn if compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        folder / f"{number:03d}.jsonl{('.gz', '.zst')[number % 2] if compressed else ''}" for number in range(files)
    ]
    texts = documents(size)
    for path in paths:
        lines, written = [], 0
        for text in texts:
            lines.append(json.dumps({"text": text}))
            written += len(text.encode())
            if written >= size // files:
                break
        path.write_bytes(_compressed("\n".join(lines).encode(), path.suffix))
    return paths


def _compressed(content: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            # Without the time of writing, so that the same text gives the same file.
            return gzip.compress(content, 6, mtime=0)
        case ".zst":
            return zstandard.compress(content, 3)
        case _:
            return content
