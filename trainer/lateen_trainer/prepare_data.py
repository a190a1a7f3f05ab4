"""Building a job's token caches in a pod that does nothing else (`spec.data.prepare`)."""

from pathlib import Path

from lateen_api.progress import Phase
from lateen_api.spec import JobSpec

from lateen_trainer.caches import open_caches
from lateen_trainer.data.build_as_needed import build_as_needed, find_opened
from lateen_trainer.data.job_data import cache_dir_of, job_sources
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.report.reporter import Reporter


def build_caches(spec: JobSpec, run_dir: Path, report: Reporter, *, builder: int = 0) -> None:
    """Returns when all caches of the job are whole. What training begins with comes first, and is reported; then always
    the source that training would wait for first.

    Args:
        spec: of the job.
        run_dir: folder below which a relative `spec.data.cacheDir` lies.
        report: gets the progress.
        builder: number of this process among those that do the same.

    Raises:
        TrainerError: a source, the tokenizer or the cache cannot be used.
    """
    tokenizer = load_tokenizer(spec.data.tokenizer)
    data = open_caches(spec, tokenizer, run_dir, report, is_builder=True, builder=builder)
    report.data_ready()
    if all(cache.is_whole for cache in data.train.values()):
        return
    # Of the validation data all is there.
    found = find_opened(
        spec,
        tokenizer,
        cache_dir_of(spec.data, run_dir),
        fingerprints={name: cache.fingerprint for name, cache in data.train.items()},
        layout=data.first.layout,
    )
    labels = {source.name: source.label for source in job_sources(spec.data, "train")}
    build_as_needed(spec, found, progress=lambda name, now: report.phase(Phase.TOKENIZING, f"{labels[name]}: {now}"))
