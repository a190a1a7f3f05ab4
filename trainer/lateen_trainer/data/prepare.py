"""The cache of a split: opened if it is whole, else built by one process while all others wait."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

import tensorstore as ts
from lateen_api.spec import DataSpec

from lateen_trainer import storage
from lateen_trainer.data import hub
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.bad_documents import describe_skipped
from lateen_trainer.data.build import Target, build_cache
from lateen_trainer.data.cache import FIELD, TokenCache, open_cache
from lateen_trainer.data.compression import suffixes
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.ledger import LEDGER, Ledger
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.data.urls import expand_urls
from lateen_trainer.errors import LostPeerError, UserError

_POOL_BYTES = 1 << 28
"""Memory for chunks and shard indices of a cache that is not on this machine."""

_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


def open_or_build_cache(
    spec: DataSpec,
    split: Literal["train", "validation"],
    tokenizer: Tokenizer,
    cache_dir: str,
    *,
    is_builder: bool,
    progress: Callable[[str], None],
    timeout: float = 600.0,
    layout: Layout = Layout(),  # noqa: B008  # frozen
    context: ts.Context | None = None,
) -> TokenCache:
    """The cache of a split, built first if need be.

    It lies in a folder of its own below `cache_dir`, named by all that determines its tokens, so that
    another tokenizer or other files get another cache and leave this one alone. A build that was killed
    goes on where it was. Builders that work at the same time write the same bytes and do not disturb each
    other.

    Args:
        spec: what to read.
        split: `trainUrls` or `validationUrls`, or the splits of the data set `id`.
        tokenizer: what makes tokens of it.
        cache_dir: path or URL; with several hosts, one that all of them see.
        is_builder: this process builds; otherwise it waits for the one that does.
        progress: called with where the work is, for people.
        timeout: seconds without a sign of progress after which a waiting process gives up.
        layout: sizes of the array on disk.
        context: TensorStore's, where `cache_dir` is in memory or resources are shared.

    Raises:
        UserError: a field is wrong, a source or the cache cannot be used, the disk is full, or there is no
            text.
        DataError: a source is broken, or the cache is corrupt.
        LostPeerError: the building process has stopped.
    """
    field, files = find_files(spec, split)
    options = {
        "dtype": spec.dtype if any(suffixes(file.url)[0] == ".bin" for file in files) else None,
        "skip_bad": spec.on_bad_document == "skip",
    }
    fingerprint = ledgers.fingerprint(tokenizer, split, spec.text_key, files, layout, **options)
    url = storage.join(cache_dir, f"{split}-{fingerprint[:16]}")
    context = context or ts.Context({"cache_pool": {"total_bytes_limit": _POOL_BYTES}})
    with storage.explained(cache_dir, field=FIELD):
        storage.check_reachable(cache_dir, field=FIELD)
        store = ts.KvStore.open(storage.kvstore_spec(url, field=FIELD), context=context).result()
        ledger = ledgers.read_ledger(store, storage.join(url, LEDGER))
    if ledger is None and is_builder:
        # Not before: a cache that others have built may be read only.
        storage.check_writable(cache_dir, field=FIELD)
        target = Target(url, store, context, fingerprint, split, layout)
        ledger = build_cache(
            files, tokenizer, target, text_key=spec.text_key, field=field, progress=progress, **options
        )
    elif ledger is None:
        ledger = _wait(store, url, files, progress=progress, timeout=timeout)
    for sentence in describe_skipped(ledger.skipped):
        log.warning("%s", sentence)
    return open_cache(url, ledger, context)


def find_files(spec: DataSpec, split: Literal["train", "validation"]) -> tuple[str, list[SourceFile]]:
    """The field that names a split's files, for messages, and the files in order."""
    if spec.configs:
        raise UserError(
            f"spec.data.configs is {spec.configs!r}: mixtures cannot be read by this version, expected files. Name "
            "them in spec.data.trainUrls."
        )
    of_hub = spec.split if split == "train" else spec.validation_split
    urls = spec.train_urls if split == "train" else spec.validation_urls
    if spec.id is not None and of_hub is not None and not urls:
        return "spec.data.id", hub.resolve(spec.id, name=spec.name, split=of_hub, revision=spec.revision)
    field = f"spec.data.{split}Urls"
    return field, expand_urls(urls, field=field)


def _wait(
    store: ts.KvStore,
    url: str,
    files: Sequence[SourceFile],
    *,
    progress: Callable[[str], None],
    timeout: float,
) -> Ledger:
    """The ledger that another process writes at the end of its build.

    Raises:
        LostPeerError: a build has begun, but made no progress for `timeout` seconds.
        UserError: none has begun, so that the other process works elsewhere.
    """
    seen, since = None, time.monotonic()
    while True:
        with storage.explained(url, field=FIELD):
            ledger = ledgers.read_ledger(store, storage.join(url, LEDGER))
            state = None if ledger else ledgers.read_state(store)
        if ledger is not None:
            return ledger
        if state is not None and state != seen:
            seen, since = state, time.monotonic()
            progress(f"waiting for process 0: {state.source} of {len(files)} files tokenized")
        if time.monotonic() - since > timeout:
            break
        time.sleep(min(_POLL_SECONDS, timeout))
    if seen is None:
        raise UserError(
            f"{FIELD}: process 0 has not begun {url} within {timeout:g} s, while this process waits for "
            "it. Expected a folder that all hosts share, and the same source files on all of them (this "
            f"one sees {len(files)} files, {sum(file.size for file in files):,} bytes). Name a "
            "shared folder or bucket."
        )
    raise LostPeerError(
        f"Process 0 has made no progress with {url} for {timeout:g} s (it was at file {seen.source + 1} of "
        f"{len(files)}): expected it to go on tokenizing. The next attempt goes on from there."
    )
