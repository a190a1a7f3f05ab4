"""What a cache says about itself: the ledger of a whole one, and how far one that is being built has come.

Both are JSON files that carry their own digest, written in one piece. A cache is whole when it has a ledger, which is
written last.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import tensorstore as ts

from lateen_trainer.data import source
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.digest import DamagedError, seal, unseal
from lateen_trainer.errors import DataError

FORMAT = 2
"""Changes with anything that changes what a cache holds, so that other versions' caches are left alone."""

LEDGER = "ledger.json"
STATE = "building.json"


@dataclass(frozen=True)
class Ledger:
    """A whole cache."""

    fingerprint: str
    """Of the tokenizer, the split and the source files: what the cache is of."""

    split: str
    tokenizer: dict[str, Any]
    """`name`, `fingerprint`, `vocab_size`, `eos_id`."""

    files: list[dict[str, Any]]
    """`url`, `size` and `stamp` of each source file, in order."""

    tokens: int
    documents: int
    dtype: str
    """NumPy's name of the tokens' type on disk."""

    layout: Layout
    digest: str
    """Of all tokens: `chained` over the shards, in order."""

    skipped: list[dict[str, Any]] = field(default_factory=list)
    """Documents that were left out because they could not be read: `SkippedDocuments.to_json`."""

    format: int = FORMAT

    def to_json(self) -> bytes:
        return seal(_without_empty(asdict(self)))

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Ledger":
        """Reads what `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            fields = unseal(content, LEDGER)
            return cls(**{**fields, "layout": Layout(**fields["layout"])})
        except (DamagedError, TypeError, KeyError) as error:
            raise DataError(
                f"{where} is no ledger of a cache: {error}. Delete the folder; the cache is built anew."
            ) from error


@dataclass(frozen=True)
class BuildState:
    """How far a build has come: its full shards, and where in the sources the next one begins."""

    shards: int = 0
    documents: int = 0
    """Documents that ended before `piece`."""

    source: int = 0
    """Index of the source file."""

    piece: int = 0
    """Index of the piece of text within the file."""

    skip: int = 0
    """Tokens of the piece that are in the shards already."""

    digest: str = ""
    """`chained` over the shards."""

    skipped: list[dict[str, Any]] = field(default_factory=list)
    """Documents that were left out, of the files before `source`."""

    def to_json(self) -> bytes:
        return seal(_without_empty(asdict(self)))

    @classmethod
    def from_json(cls, content: bytes) -> "BuildState | None":
        """None: the text is not what `to_json` wrote."""
        try:
            return cls(**unseal(content, STATE))
        except (DamagedError, TypeError):
            return None


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without `skipped` where nothing was: as the versions before it wrote and read them."""
    return {name: value for name, value in fields.items() if name != "skipped" or value}


def chained(digest: str, shard: bytes | memoryview) -> str:
    """Digest of the shards up to `shard`, given that of those before it (`""`: there are none)."""
    return hashlib.sha256(digest.encode() + shard).hexdigest()


def fingerprint(
    tokenizer: Tokenizer,
    split: str,
    text_key: str,
    files: Sequence[SourceFile],
    layout: Layout,
    *,
    dtype: str | None = None,
    skip_bad: bool = False,
) -> str:
    """Hex digest of all that determines a cache's content.

    What is at its default plays no part, so that caches of before there was a choice are found.
    """
    parts = [FORMAT, tokenizer.fingerprint, split, text_key, source.digest(files), layout.chunk, layout.shard]
    if dtype is not None:
        parts.append(f"dtype {dtype}")
    if skip_bad:
        parts.append("bad documents skipped")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_ledger(store: ts.KvStore, where: str) -> Ledger | None:
    """The ledger of the cache in `store`; None: it is not whole.

    Raises:
        DataError: the file holds something else.
    """
    found = store.read(LEDGER).result()
    return None if found.state == "missing" else Ledger.from_json(found.value, where)


def read_state(store: ts.KvStore) -> BuildState | None:
    """How far the build in `store` has come; None: it has not begun."""
    found = store.read(STATE).result()
    return None if found.state == "missing" else BuildState.from_json(found.value)
