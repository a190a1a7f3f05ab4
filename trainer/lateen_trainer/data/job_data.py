"""All the data of a job: the caches of its sources, and the sequences that it trains and evaluates on."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from lateen_api.files import resolve_folder
from lateen_api.spec import DataSourceSpec, DataSpec, JobSpec

from lateen_trainer.data.bad_documents import count_skipped
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.mixture import Mixture, Stage
from lateen_trainer.data.prepare import files_field
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import SequenceSource, check_enough, sequence_source

log = logging.getLogger(__name__)

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class JobSource:
    """A split of a source."""

    name: str
    """In `spec.data.configs`; empty in a job without a mixture."""

    split: Split
    data: DataSpec
    """The source as the data of a job that has no others."""

    @property
    def where(self) -> str:
        """The job's field that has the source."""
        return field_of(self.name)

    def stream_seed(self, seed: int) -> int | None:
        """What permutes the parts in the stream, in a job with this `spec.trainer.seed`; None: they stay in order."""
        return seed if self.split == "train" else None

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} ({self.split})" if self.name else self.split


OpenCache = Callable[[JobSource], TokenCache]


@dataclass(frozen=True)
class JobData:
    """The caches of a job, by the names of their sources; the only source of a job without a mixture has none."""

    train: Mapping[str, TokenCache]
    validation: Mapping[str, TokenCache]

    @staticmethod
    def open(data: DataSpec, open_cache: OpenCache, *, builder: int = 0) -> "JobData":
        """Opens or builds the caches of all sources that the job needs: those to train on first.

        Args:
            data: of the job.
            open_cache: opens or builds one.
            builder: number of this process among those that do the same. Each begins with another source, so that
                what training begins with is there sooner than if all took one source after the other.

        Raises:
            TrainerError: a cache cannot be opened or built.
        """
        opened: dict[Split, dict[str, TokenCache]] = {}
        for split in SPLITS:
            sources = list(job_sources(data, split))
            start = builder % max(1, len(sources))
            caches = {source.name: open_cache(source) for source in [*sources[start:], *sources[:start]]}
            opened[split] = {source.name: caches[source.name] for source in sources}
        return JobData(**opened)

    @property
    def first(self) -> TokenCache:
        """The first source to train on."""
        return next(iter(self.train.values()))

    @property
    def skipped_documents(self) -> int:
        """Bad documents that the caches were built without."""
        return sum(count_skipped(cache.skipped) for cache in (*self.train.values(), *self.validation.values()))

    @property
    def shown(self) -> TokenCache:
        """What samples and figures are taken from: the first source to evaluate on, else to train on."""
        return next(iter((self.validation or self.train).values()))

    def sequences(self, spec: JobSpec) -> RunSequences:
        """The sequences that the job trains on.

        Raises:
            UserError: a source whose cache is whole has too few tokens.
        """
        sources = {name: _source(spec, name, cache) for name, cache in self.train.items()}
        batch, mixture = spec.trainer.train_batch_size, mixture_of(spec) if spec.data.configs else None
        least = batch if mixture is None else 1
        counts = {name: check_enough(source, least) for name, source in sources.items() if source.cache.is_whole}
        if mixture is not None:
            for name, wanted in sequences_of_run(spec).items():
                _log_epochs(name, wanted, counts.get(name))
        return RunSequences(sources, spec.trainer.seed, spec.data.shuffle.window, mixture, least)

    def validation_sources(self, spec: JobSpec) -> dict[str, SequenceSource]:
        """The sources to evaluate on, by name."""
        return {name: _source(spec, name, cache) for name, cache in self.validation.items()}


def mixture_of(spec: JobSpec) -> Mixture:
    """The mixture of a job that has `spec.data.configs`."""
    batch = spec.trainer.train_batch_size
    stages = [Stage(stage.step * batch, stage.weights) for stage in spec.data.weight_stages]
    return Mixture(list(trained_sources(spec.data)), stages, spec.trainer.seed)


def sequences_of_run(spec: JobSpec) -> dict[str, int]:
    """How many sequences the whole run reads of each source, exactly; of a run that leaves no batch out."""
    total = spec.trainer.num_train_steps * spec.trainer.train_batch_size
    return mixture_of(spec).counts(total) if spec.data.configs else {"": total}


def needed_first(spec: JobSpec) -> dict[str, int | None]:
    """Sequences at the beginning of each source that the first batch needs: whole windows of them; None: all."""
    window, batch = spec.data.shuffle.window, spec.trainer.train_batch_size
    if window is None:
        return dict.fromkeys(trained_sources(spec.data))
    counts = mixture_of(spec).counts(batch) if spec.data.configs else {"": batch}
    return {name: -(-count // window) * window for name, count in counts.items()}


def cache_dir_of(data: DataSpec, run_dir: Path) -> str:
    """The path or URL of `spec.data.cacheDir`, or of its default: a folder of the run."""
    return resolve_folder(data.cache_dir or "cache", run_dir)


def job_sources(data: DataSpec, split: Split) -> Iterator[JobSource]:
    """The sources of a split that the job needs; those to train on in the order in which stages begin with them."""
    if split == "train":
        names = sorted(trained_sources(data), key=lambda name: _first_stage(data, name))
    else:
        names = list(evaluated_sources(data))
    for name in names:
        yield JobSource(name, split, _alone(data, name))


def trained_sources(data: DataSpec) -> Iterator[str]:
    """The sources that give sequences in some stage."""
    for name in data.sources:
        if not data.configs or any(stage.weights.get(name, 0) > 0 for stage in data.weight_stages):
            yield name


def _first_stage(data: DataSpec, name: str) -> int:
    """Number of the first stage that a trained source gives sequences in."""
    stages = data.weight_stages if data.configs else []
    return next((number for number, stage in enumerate(stages) if stage.weights.get(name, 0) > 0), 0)


def evaluated_sources(data: DataSpec) -> Iterator[str]:
    """The sources that have something to evaluate on."""
    for name, source in data.sources.items():
        if source.has_validation:
            yield name


def field_of(name: str) -> str:
    """The job's field that has a source."""
    return f"spec.data.configs.{name}" if name else "spec.data"


def _log_epochs(name: str, wanted: int, sequences: int | None) -> None:
    if sequences is None:
        log.info("Source %s: the run reads %s sequences", name, f"{wanted:,}")
        return
    log.info(
        "Source %s: the run reads %s sequences, and it has %s (%.2f epochs)",
        name, f"{wanted:,}", f"{sequences:,}", wanted / sequences,
    )  # fmt: skip


def _source(spec: JobSpec, name: str, cache: TokenCache) -> SequenceSource:
    field = files_field(spec.data.sources[name], cast(Split, cache.split), field_of(name))
    return sequence_source(cache, spec.model.seq_len, spec.data.packing, field)


def _alone(data: DataSpec, name: str) -> DataSpec:
    """A source as the data of a job that has no others: what all sources share stands in the mixture."""
    source = data.sources[name]
    if source is data:
        return data
    own = {field: getattr(source, field) for field in DataSourceSpec.model_fields}
    return data.model_copy(update={**own, "configs": {}, "train_weights": {}, "train_weight_stages": []})
