"""The cache of a split: opened if it is whole, else built, by as many processes as call this at the same time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import tensorstore as ts
from lateen_api.spec import DataSourceSpec, DataSpec

from lateen_trainer import storage
from lateen_trainer.data import hub
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.bad_documents import describe_skipped
from lateen_trainer.data.build import Reading
from lateen_trainer.data.build_progress import BuildProgress
from lateen_trainer.data.builder import Builder
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.chat import ChatFormat
from lateen_trainer.data.compression import suffixes
from lateen_trainer.data.layout import Layout, token_dtype
from lateen_trainer.data.parts import Part, cut, stream_order
from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.tokenizer import Tokenizer, chat_encoder
from lateen_trainer.data.urls import expand_urls
from lateen_trainer.data.writer import FIELD, Target

_POOL_BYTES = 1 << 28
"""Memory for chunks and shard indices of a cache that is not on this machine."""

log = logging.getLogger(__name__)


def open_or_build_cache(
    spec: DataSpec,
    split: Literal["train", "validation"],
    tokenizer: Tokenizer,
    cache_dir: str,
    *,
    progress: Callable[[BuildProgress], None],
    where: str = "spec.data",
    seed: int | None = None,
    enough: int | None = None,
    is_builder: bool = True,
    timeout: float = 600.0,
    layout: Layout = Layout(),  # noqa: B008  # frozen
    context: ts.Context | None = None,
) -> TokenCache:
    """The cache of a split, built first if need be.

    It lies in a folder of its own below `cache_dir`, named by all that determines its tokens, so that
    another tokenizer or other files get another cache and leave this one alone. A build that was killed
    goes on where it was. Builders that work at the same time share the work (`data.leases`).

    Args:
        spec: what to read.
        split: `trainUrls` or `validationUrls`, or the splits of the data set `id`.
        tokenizer: what makes tokens of it.
        cache_dir: path or URL; with several hosts, one that all of them see.
        progress: called with where the work is.
        where: the job's field that has the source, for messages.
        seed: of the order of the parts in the stream; None: as the files are listed.
        enough: tokens at the beginning of the stream that the caller needs; None: all of them.
        is_builder: this process builds; otherwise it waits for those that do.
        timeout: seconds without a sign of progress after which a waiting process gives up.
        layout: sizes of the arrays on disk and of parts.
        context: TensorStore's, where `cache_dir` is in memory or resources are shared.

    Raises:
        UserError: a field is wrong, a source or the cache cannot be used, the disk is full, or there is no
            text.
        DataError: a source is broken, or the cache is corrupt.
        LostPeerError: the building processes have stopped.
    """
    found = find_cache(spec, split, tokenizer, cache_dir, where=where, seed=seed, layout=layout, context=context)
    cache = found.cache

    def is_enough() -> bool:
        return cache.look() or (enough is not None and cache.tokens_ready >= enough)

    if not is_enough():
        if is_builder:
            # Not before: a cache that others have built may be read only.
            storage.check_writable(cache_dir, field=FIELD)
        builder = Builder(found.files, found.parts, found.reading, found.target, progress=progress)
        builder.build(cache.order, enough=is_enough, timeout=None if is_builder else timeout)
        cache.look()
    for sentence in describe_skipped(cache.skipped):
        log.warning("%s", sentence)
    return cache


@dataclass(frozen=True)
class FoundCache:
    """The cache of a split as it is, and what it takes to build it."""

    files: Sequence[SourceFile]
    parts: Sequence[Part]
    reading: Reading
    target: Target
    cache: TokenCache


def find_cache(
    spec: DataSpec,
    split: Literal["train", "validation"],
    tokenizer: Tokenizer,
    cache_dir: str,
    *,
    where: str = "spec.data",
    seed: int | None = None,
    layout: Layout = Layout(),  # noqa: B008  # frozen
    context: ts.Context | None = None,
    files: Sequence[SourceFile] | None = None,
) -> FoundCache:
    """The cache of a split, built or not. The other arguments are those of `open_or_build_cache`.

    Args:
        files: of the split, where they are known already.

    Raises:
        UserError: a field is wrong, or a source or the cache cannot be used.
        DataError: what the cache says about itself is damaged.
    """
    if files is None:
        _, files = find_files(spec, split, where)
    chat = None
    if spec.format == "chat":
        messages_key = RecordKey(spec.messages_key, f"{where}.messagesKey")
        chat = ChatFormat(messages_key, chat_encoder(tokenizer, f"{where}.format"))
    reading = Reading(
        tokenizer,
        RecordKey(spec.text_key, f"{where}.textKey"),
        files_field(spec, split, where),
        spec.dtype if any(suffixes(file.url)[0] == ".bin" for file in files) else None,
        spec.on_bad_document == "skip",
        chat,
    )
    fingerprint = ledgers.fingerprint(
        tokenizer,
        split,
        spec.text_key,
        files,
        layout,
        dtype=reading.dtype,
        skip_bad=reading.skip_bad,
        chat=None if chat is None else chat.fingerprint,
    )
    url = storage.join(cache_dir, f"{split}-{fingerprint[:16]}")
    context = context or ts.Context({"cache_pool": {"total_bytes_limit": _POOL_BYTES}, **storage.RETRIES})
    parts = cut(files, layout.part)
    dtype = token_dtype(tokenizer.vocab_size)
    with storage.explained(cache_dir, field=FIELD):
        storage.check_reachable(cache_dir, field=FIELD)
        store = ts.KvStore.open(storage.kvstore_spec(url, field=FIELD), context=context).result()
    has_counted = chat is not None
    target = Target(url, store, context, fingerprint, split, layout, dtype, has_counted)
    order = stream_order(len(parts), seed)
    cache = TokenCache(
        url, store, context,
        fingerprint=fingerprint, split=split, order=order, layout=layout, dtype=dtype, has_counted=has_counted,
    )  # fmt: skip
    return FoundCache(files, parts, reading, target, cache)


def find_files(
    spec: DataSourceSpec, split: Literal["train", "validation"], where: str = "spec.data"
) -> tuple[str, list[SourceFile]]:
    """The field that names a split's files, for messages, and the files in order.

    Args:
        where: the job's field that has the source.
    """
    field, of_hub = files_field(spec, split, where), _split_of_hub(spec, split)
    if spec.id is not None and of_hub is not None:
        return field, hub.resolve(spec.id, name=spec.name, split=of_hub, revision=spec.revision, where=where)
    return field, expand_urls(_urls(spec, split), field=field)


def files_field(spec: DataSourceSpec, split: Literal["train", "validation"], where: str = "spec.data") -> str:
    """The field that names a split's files: URLs, or a data set of the hub.

    Args:
        where: the job's field that has the source.
    """
    return f"{where}.{split}Urls" if _split_of_hub(spec, split) is None else f"{where}.id"


def _split_of_hub(spec: DataSourceSpec, split: Literal["train", "validation"]) -> str | None:
    """The split of the data set `id` that is read; None: URLs are."""
    if spec.id is None or _urls(spec, split):
        return None
    return spec.split if split == "train" else spec.validation_split


def _urls(spec: DataSourceSpec, split: Literal["train", "validation"]) -> list[str]:
    return spec.train_urls if split == "train" else spec.validation_urls
