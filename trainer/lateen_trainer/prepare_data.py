"""Building a job's token caches in a pod that does nothing else (`spec.data.prepare`)."""

from pathlib import Path

from lateen_api.progress import Phase
from lateen_api.spec import JobSpec

from lateen_trainer.caches import open_caches
from lateen_trainer.data.job_data import cache_dir_of, job_sources
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.report.reporter import Reporter


def build_caches(spec: JobSpec, run_dir: Path, report: Reporter) -> None:
    """Returns when all caches of the job are whole. What training begins with comes first, and is reported.

    Args:
        spec: of the job.
        run_dir: folder below which a relative `spec.data.cacheDir` lies.
        report: gets the progress.

    Raises:
        TrainerError: a source, the tokenizer or the cache cannot be used.
    """
    tokenizer = load_tokenizer(spec.data.tokenizer)
    open_caches(spec, tokenizer, run_dir, report, is_builder=True)
    report.data_ready()
    # Only that of the training data may not be whole.
    for source in job_sources(spec.data, "train"):
        open_or_build_cache(
            source.data, source.split, tokenizer, cache_dir_of(spec.data, run_dir),
            where=source.where,
            progress=lambda detail, label=source.label: report.phase(Phase.TOKENIZING, f"{label}: {detail}"),
            seed=source.stream_seed(spec.trainer.seed),
        )  # fmt: skip
