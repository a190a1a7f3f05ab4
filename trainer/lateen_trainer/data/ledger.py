"""What a cache says about itself: what it is of, which parts are whole and how far the others have come, and the ledger
of a whole one.

All are JSON files that carry their own digest, written in one piece. A part is whole when it has a record, which is
written after its arrays; a cache is whole when it has a ledger, which is written last.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any, Self

import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data import source
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.digest import DamagedError, seal, unseal
from lateen_trainer.errors import DataError

FORMAT = 3
"""Changes with anything that changes what a cache holds, so that other versions' caches are left alone."""

HEADER = "cache.json"
LEDGER = "ledger.json"
RECORDS, STATES, LEASES = "parts/", "building/", "leases/"


class _Sealed:
    """A dataclass that is kept as JSON with its own digest."""

    def to_json(self) -> bytes:
        return seal(_without_empty(asdict(self)))  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls._of(unseal(content, where.rpartition("/")[2]))
        except (DamagedError, TypeError, KeyError) as error:
            raise DataError(
                f"{where} is no {cls.__name__.lower()} of a cache: {error}. Delete the cache's folder; it is built "
                "again."
            ) from error

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True)
class Header(_Sealed):
    """What a cache is of, whether it is whole or not."""

    fingerprint: str
    """Of the tokenizer, the split and the source files."""

    split: str
    tokenizer: dict[str, Any]
    """`name`, `fingerprint`, `vocab_size`, `eos_id`."""

    files: list[dict[str, Any]]
    """`url`, `size` and `stamp` of each source file, in order."""

    cuts: list[int]
    """Index of the first file of each part."""

    dtype: str
    """NumPy's name of the tokens' type on disk."""

    layout: Layout
    has_counted: bool = False
    """Is there an array that says which tokens count in the loss?"""

    format: int = FORMAT

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "layout": Layout(**values["layout"])})


@dataclass(frozen=True)
class Record(_Sealed):
    """A whole part."""

    tokens: int
    documents: int
    digest: str
    """Of all tokens: `chained` over the shards, in order."""

    digests: dict[str, str]
    """Of the other arrays, likewise, by name."""

    skipped: list[dict[str, Any]] = field(default_factory=list)
    """Documents that were left out because they could not be read: `SkippedDocuments.to_json`."""


@dataclass(frozen=True)
class Ledger(Header):
    """A whole cache."""

    tokens: int = 0
    documents: int = 0
    digest: str = ""
    """Of all tokens: that of the only part, or one over those of all parts."""

    parts: list[Record] = field(default_factory=list)
    """By number."""

    @classmethod
    def of(cls, header: Header, records: Sequence[Record]) -> Self:
        """The ledger of the cache whose parts have these records."""
        digests = [record.digest for record in records]
        return cls(
            **{item.name: getattr(header, item.name) for item in fields(Header)},
            tokens=sum(record.tokens for record in records),
            documents=sum(record.documents for record in records),
            digest=digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest(),
            parts=list(records),
        )

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Documents that were left out, of all parts."""
        return [file for record in self.parts for file in record.skipped]

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        parts = [Record(**record) for record in values["parts"]]
        return cls(**{**values, "layout": Layout(**values["layout"]), "parts": parts})


@dataclass(frozen=True)
class BuildState:
    """How far the build of a part has come: its full shards of tokens, and where in the sources the next one begins."""

    shards: int = 0
    documents: int = 0
    """Documents that ended before `piece`."""

    source: int = 0
    """Index of the source file in the list of all."""

    piece: int = 0
    """Index of the piece of text within the file."""

    skip: int = 0
    """Tokens of the piece that are in the shards already."""

    digests: dict[str, str] = field(default_factory=dict)
    """By array, `chained` over its shards."""

    pending_ends: str = ""
    """Ends of documents that are in no shard yet: `writer.packed`."""

    skipped: list[dict[str, Any]] = field(default_factory=list)
    """Documents that were left out, of the files before `source`."""

    def to_json(self) -> bytes:
        return seal(_without_empty(asdict(self)))

    @classmethod
    def from_json(cls, content: bytes) -> "BuildState | None":
        """None: the text is not what `to_json` wrote."""
        try:
            return cls(**unseal(content, STATES))
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
    chat: str | None = None,
) -> str:
    """Hex digest of all that determines a cache's content.

    What is at its default plays no part, so that caches of before there was a choice are found.

    Args:
        chat: fingerprint of how conversations are read; None: the files hold text.
    """
    parts = [FORMAT, tokenizer.fingerprint, split, text_key, source.digest(files), *astuple(layout)]
    if dtype is not None:
        parts.append(f"dtype {dtype}")
    if skip_bad:
        parts.append("bad documents skipped")
    if chat is not None:
        parts.append(f"chat {chat}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def name_of(prefix: str, part: int) -> str:
    """Key of a part's record, state or lease."""
    return f"{prefix}{part:05d}.json"


def keys_below(prefix: str) -> ts.KvStore.KeyRange:
    """The keys of all parts' records, states or leases."""
    return ts.KvStore.KeyRange(prefix, prefix[:-1] + chr(ord("/") + 1))


def numbers(store: ts.KvStore, prefix: str) -> set[int]:
    """The parts that have a record, state or lease."""
    keys = store.list(keys_below(prefix), strip_prefix_length=len(prefix))
    return {int(stem) for key in keys.result() if (stem := key.decode().removesuffix(".json")).isdigit()}


def read_ledger(store: ts.KvStore, where: str) -> Ledger | None:
    """The ledger of the cache in `store`, the folder `where`; None: it is not whole.

    Raises:
        DataError: the file holds something else.
    """
    found = store.read(LEDGER).result()
    return None if found.state == "missing" else Ledger.from_json(found.value, storage.join(where, LEDGER))


def read_header(store: ts.KvStore, where: str) -> Header | None:
    """What the cache in `store`, the folder `where`, is of; None: there is none.

    Raises:
        DataError: the file holds something else.
    """
    found = store.read(HEADER).result()
    return None if found.state == "missing" else Header.from_json(found.value, storage.join(where, HEADER))


def read_records(store: ts.KvStore, where: str, parts: Iterable[int]) -> dict[int, Record]:
    """The records of those of the parts that are whole, read side by side.

    Raises:
        DataError: a file holds something else.
    """
    pending = [(part, store.read(name_of(RECORDS, part))) for part in parts]
    found = ((part, read.result()) for part, read in pending)
    return {
        part: Record.from_json(result.value, storage.join(where, name_of(RECORDS, part)))
        for part, result in found
        if result.state != "missing"
    }


def read_state(store: ts.KvStore, part: int) -> BuildState | None:
    """How far the build of a part has come; None: it has not begun, or the file is damaged."""
    found = store.read(name_of(STATES, part)).result()
    return None if found.state == "missing" else BuildState.from_json(found.value)
