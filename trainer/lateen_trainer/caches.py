"""The caches that a run reads: opened, built as far as training needs them to begin, and the same for all processes."""

from pathlib import Path
from typing import Literal

import numpy as np
from jax.experimental import multihost_utils
from lateen_api.files import resolve_folder
from lateen_api.plan.schedule import has_validation
from lateen_api.progress import Phase
from lateen_api.spec import JobSpec

from lateen_trainer.data.bad_documents import count_skipped
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.processes import Peers
from lateen_trainer.report.reporter import Reporter


def open_caches(
    spec: JobSpec, tokenizer: Tokenizer, run_dir: Path, report: Reporter
) -> tuple[TokenCache, TokenCache | None]:
    """The tokens of training and validation (None: the job has no validation data), tokenised first if need be: all of
    them, or what the first window of the training data needs."""
    window = spec.data.shuffle.window
    first = None if window is None else max(window, spec.trainer.train_batch_size)

    def open_split(split: Literal["train", "validation"], seed: int | None, sequences: int | None) -> TokenCache:
        report.phase(Phase.TOKENIZING, split)
        return open_or_build_cache(
            spec.data, split, tokenizer, cache_dir_of(spec, run_dir),
            progress=lambda detail: report.phase(Phase.TOKENIZING, f"{split}: {detail}"),
            seed=seed,
            enough=None if sequences is None else sequences * spec.model.seq_len + 1,
        )  # fmt: skip

    train = open_split("train", spec.trainer.seed, first)
    report.reads(train)
    validation = open_split("validation", None, None) if has_validation(spec) else None
    report.skipped_documents(skipped_documents(train, validation))
    return train, validation


def cache_dir_of(spec: JobSpec, run_dir: Path) -> str:
    """`spec.data.cacheDir`, or its default."""
    return resolve_folder(spec.data.cache_dir or "cache", run_dir)


def check_same_data(tokens: TokenCache, peers: Peers) -> None:
    """Raises a UserError where the processes see other source files, or have other tokenizers."""
    if peers.process_count == 1:
        return
    digest = np.frombuffer(bytes.fromhex(tokens.fingerprint), np.uint8)
    if (multihost_utils.process_allgather(digest) != digest).any():
        files = tokens.header.files
        raise UserError(
            f"spec.data: the processes do not see the same data. This one sees {len(files):,} source files of "
            f"{sum(file['size'] for file in files):,} bytes and has the tokenizer {tokens.header.tokenizer['name']!r}: "
            "expected the same files, with the same sizes and times of modification, and the same tokenizer on all "
            "hosts. Put them into a folder or bucket that all hosts share."
        )


def skipped_documents(*caches: TokenCache | None) -> int:
    """Bad documents that the caches were built without."""
    return sum(count_skipped(cache.skipped) for cache in caches if cache is not None)
