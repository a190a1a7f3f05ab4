"""Completing the caches of a run's sources in the order in which training needs them."""

import logging
from collections.abc import Callable, Mapping

from lateen_api.spec import JobSpec

from lateen_trainer.data.bad_documents import describe_skipped
from lateen_trainer.data.build_progress import BuildProgress
from lateen_trainer.data.builder import Builder
from lateen_trainer.data.job_data import JobData, job_sources
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import FoundCache, find_cache
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.errors import DataError

log = logging.getLogger(__name__)


def find_opened(
    spec: JobSpec, tokenizer: Tokenizer, cache_dir: str, *, fingerprints: Mapping[str, str], layout: Layout
) -> dict[str, FoundCache]:
    """The caches of the training data by source, which are those that were opened before.

    Args:
        spec: of the job.
        tokenizer: of the job.
        cache_dir: where the caches lie.
        fingerprints: of the caches that were opened, by source.
        layout: of the caches.

    Raises:
        DataError: the source files have changed since then.
        UserError: a source or the cache cannot be used.
    """
    found = {}
    for source in job_sources(spec.data, "train"):
        seed = source.stream_seed(spec.trainer.seed)
        one = find_cache(source.data, "train", tokenizer, cache_dir, where=source.where, seed=seed, layout=layout)
        if one.cache.fingerprint != fingerprints[source.name]:
            raise DataError(
                f"The files of {one.reading.field} changed after the start of the run: expected source files that "
                "stay as they are. Start again; the cache is then built of what is there."
            )
        found[source.name] = one
    return found


def build_as_needed(
    spec: JobSpec, found: Mapping[str, FoundCache], *, progress: Callable[[str, BuildProgress], None]
) -> None:
    """Builds the caches of all sources, beside other builders: always of the source that the run would wait for first.

    Sources that the run does not read to their end are completed last.

    Args:
        spec: of a job with `data.shuffle.window`.
        found: the caches of its training data, by source.
        progress: called with the source and where its cache is.

    Raises:
        UserError: a source or the cache's folder cannot be used, the disk is full, or a source has too little text.
        DataError: a source is broken, or changed meanwhile.
    """
    builders = {
        name: Builder(one.files, one.parts, one.reading, one.target, progress=_of(name, progress))
        for name, one in found.items()
    }

    def build(name: str, more: int | None) -> None:
        """Builds so many more tokens; None: all."""
        cache = found[name].cache
        goal = None if more is None else cache.tokens_ready + more
        builders[name].build(
            cache.order,
            enough=lambda: cache.look() or (goal is not None and cache.tokens_ready >= goal),
            timeout=None,
        )

    sequences = JobData({name: one.cache for name, one in found.items()}, {}).sequences(spec)
    wanted = spec.trainer.num_train_steps * spec.trainer.train_batch_size
    while sequences.look(wanted) < wanted:
        assert sequences.waits_for is not None and spec.data.shuffle.window is not None
        build(sequences.waits_for, spec.data.shuffle.window * spec.model.seq_len)
    for name, one in found.items():
        if not one.cache.look():
            build(name, None)
        for sentence in describe_skipped(one.cache.skipped):
            log.warning("%s", sentence)


def _of(name: str, progress: Callable[[str, BuildProgress], None]) -> Callable[[BuildProgress], None]:
    return lambda now: progress(name, now)
