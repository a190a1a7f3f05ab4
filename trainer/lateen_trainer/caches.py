"""The caches that a run reads: opened, built as far as training needs them to begin, and the same for all processes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jax.experimental import multihost_utils
from lateen_api.progress import Phase
from lateen_api.spec import JobSpec

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.job_data import JobData, JobSource, cache_dir_of, needed_first
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.processes import Peers
from lateen_trainer.report.reporter import Reporter


def open_caches(
    spec: JobSpec,
    tokenizer: Tokenizer,
    run_dir: Path,
    report: Reporter,
    *,
    is_builder: bool | None = None,
    builder: int = 0,
) -> JobData:
    """The tokens of training and validation, tokenised first if need be: all of them, or of the training data what
    the first batch needs.

    Args:
        spec: of the job.
        tokenizer: of the job.
        run_dir: folder of the run.
        report: gets the progress.
        is_builder: whether this process tokenizes; None: unless other pods do (`spec.data.prepare`).
        builder: number of this process among those that do the same.
    """
    is_builder = spec.data.prepare is None if is_builder is None else is_builder
    first = needed_first(spec)

    def open_cache(source: JobSource) -> TokenCache:
        sequences = first[source.name] if source.split == "train" else None
        report.phase(Phase.TOKENIZING, source.label)
        return open_or_build_cache(
            source.data, source.split, tokenizer, cache_dir_of(spec.data, run_dir),
            where=source.where,
            progress=lambda detail: report.phase(Phase.TOKENIZING, f"{source.label}: {detail}"),
            seed=source.stream_seed(spec.trainer.seed),
            is_builder=is_builder,
            enough=None if sequences is None else sequences * spec.model.seq_len + min(1, sequences),
        )  # fmt: skip

    data = JobData.open(spec.data, open_cache, builder=builder)
    for cache in data.train.values():
        report.reads(cache)
    report.skipped_documents(data.skipped_documents)
    return data


def check_same_data(caches: Iterable[TokenCache], peers: Peers) -> None:
    """Raises a UserError where the processes see other source files, or have other tokenizers."""
    if peers.process_count == 1:
        return
    for tokens in caches:
        digest = np.frombuffer(bytes.fromhex(tokens.fingerprint), np.uint8)
        if (multihost_utils.process_allgather(digest) != digest).any():
            files = tokens.header.files
            raise UserError(
                f"spec.data: the processes do not see the same data. This one sees {len(files):,} source files of "
                f"{sum(file['size'] for file in files):,} bytes and has the tokenizer "
                f"{tokens.header.tokenizer['name']!r}: expected the same files, with the same sizes and times of "
                "modification, and the same tokenizer on all hosts. Put them into a folder or bucket that all hosts "
                "share."
            )
