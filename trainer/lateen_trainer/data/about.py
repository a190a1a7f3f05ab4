"""What `lateen data` shows of caches."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import tensorstore as ts
from lateen_api.spec import JobSpec

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.job_data import JobSource, sequences_of_run
from lateen_trainer.data.ledger import RECORDS, Header
from lateen_trainer.data.prepare import find_cache
from lateen_trainer.data.sequence_sources import sequence_source
from lateen_trainer.data.source import explained
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.data.writer import FIELD
from lateen_trainer.errors import DataError, UserError


def about_cache(
    spec: JobSpec, source: JobSource, tokenizer: Tokenizer, cache_dir: str, *, seed: int | None
) -> dict[str, Any]:
    """What the cache of a source holds, by key, for people and as JSON.

    Raises:
        UserError: a field is wrong, or a source or the cache cannot be used.
        DataError: the cache is damaged.
    """
    found = find_cache(source.data, source.split, tokenizer, cache_dir, where=source.where, seed=seed)
    cache, seq_len = found.cache, spec.model.seq_len
    sequences = sequence_source(cache, seq_len, spec.data.packing).ready
    row: dict[str, Any] = {
        "cache": cache.url,
        **({"source": source.name} if source.name else {}),
        "split": source.split,
        "state": "whole" if cache.is_whole else f"{len(cache.parts):,} of {len(found.parts):,} parts are there",
        "tokenizer": tokenizer.name,
        "files": len(found.files),
        "fileBytes": sum(file.size for file in found.files),
        "parts": len(found.parts),
        "tokens": cache.tokens_ready,
        "documents": cache.documents_ready,
        "sequences": sequences,
        "skippedDocuments": sum(file["documents"] for file in cache.skipped),
    }
    if source.split == "train" and sequences:
        row["epochs"] = sequences_of_run(spec)[source.name] / sequences
    if sequences:
        row["firstSequence"] = tokenizer.decode(cache.rows(np.array([0]), seq_len)[0])
    return row


@dataclass(frozen=True)
class CheckedParts:
    """A cache that is being read."""

    url: str
    of_parts: int
    """Of the whole cache."""

    parts: Iterator[tuple[int, str | None]]
    """Number of each part that is there, and what is damaged about it; None: nothing."""


def check_parts(source: JobSource, tokenizer: Tokenizer, cache_dir: str, *, seed: int | None) -> CheckedParts:
    """Reads the cache of a source, part by part, as the result is iterated over.

    Raises:
        UserError: there is none.
    """
    found = find_cache(source.data, source.split, tokenizer, cache_dir, where=source.where, seed=seed)
    cache = found.cache
    if not cache.parts and not ledgers.numbers(found.target.store, RECORDS):
        raise UserError(f"{FIELD}: {cache.url} holds no part of a cache. Build it: lateen data build.")

    def parts() -> Iterator[tuple[int, str | None]]:
        for part in cache.parts:
            try:
                cache.verify_part(part)
                yield part.number, None
            except DataError as error:
                yield part.number, str(error)

    return CheckedParts(cache.url, len(found.parts), parts())


def list_caches(cache_dir: str, used: Set[str]) -> list[dict[str, Any]]:
    """The caches in a folder of caches, by name.

    Args:
        cache_dir: path or URL.
        used: names of folders that a job uses.

    Raises:
        UserError: the folder cannot be read.
    """
    url = str(storage.local_path(cache_dir) or cache_dir)
    with explained(FIELD, cache_dir):
        filesystem, path = fsspec.url_to_fs(url)
        names = sorted(str(name).rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, detail=False))
    rows = []
    for name in names:
        folder = storage.join(cache_dir, name)
        with storage.explained(folder, field=FIELD):
            store = storage.open_store(folder, field=FIELD)
            header = ledgers.read_header(store, folder)
            if header is not None:
                rows.append({"cache": name, **_figures(store, folder, header), "used": name in used})
    return rows


def _figures(store: ts.KvStore, folder: str, header: Header) -> dict[str, Any]:
    ledger = ledgers.read_ledger(store, folder)
    if ledger is not None:
        records = ledger.parts
    else:
        records = list(ledgers.read_records(store, folder, sorted(ledgers.numbers(store, RECORDS))).values())
    tokens = sum(record.tokens for record in records)
    per_token = np.dtype(header.dtype).itemsize + header.has_counted
    return {
        "split": header.split,
        "tokenizer": header.tokenizer["name"],
        "files": len(header.files),
        "parts": len(records),
        "ofParts": len(header.cuts),
        "tokens": tokens,
        "bytes": tokens * per_token + 8 * sum(record.documents for record in records),
    }
