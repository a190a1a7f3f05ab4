"""All the data of a job: the caches of its sources, and the sequences that it trains and evaluates on."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lateen_api.spec import DataSourceSpec, DataSpec, JobSpec

from lateen_trainer.data.bad_documents import count_skipped
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.mixture import Mixture, Stage
from lateen_trainer.data.order import SequenceOrder
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import SequenceSource, check_enough, sequence_source

log = logging.getLogger(__name__)

Split = Literal["train", "validation"]

OpenCache = Callable[[DataSpec, Split, str], TokenCache]
"""(the source as the data of a job without others, split, field of the source) → its cache."""


@dataclass(frozen=True)
class JobData:
    """The caches of a job, by the names of their sources; the only source of a job without a mixture has none."""

    train: Mapping[str, TokenCache]
    validation: Mapping[str, TokenCache]

    @staticmethod
    def open(data: DataSpec, open_cache: OpenCache) -> "JobData":
        """Opens or builds the caches of all sources that the job needs.

        Raises:
            TrainerError: a cache cannot be opened or built.
        """
        return JobData(
            {name: open_cache(*_alone(data, name, "train")) for name in trained_sources(data)},
            {name: open_cache(*_alone(data, name, "validation")) for name in evaluated_sources(data)},
        )

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
            UserError: a source has too few tokens.
        """
        sources = {name: _source(spec, name, cache) for name, cache in self.train.items()}
        seed, batch = spec.trainer.seed, spec.trainer.train_batch_size
        if not spec.data.configs:
            check_enough(sources[""], batch)
            return RunSequences.of_one(sources[""], seed)
        counts = {name: check_enough(source) for name, source in sources.items()}
        mixture = mixture_of(spec)
        for name, wanted in mixture.counts(spec.trainer.num_train_steps * batch).items():
            log.info(
                "Source %s: the run reads %s sequences, and it has %s (%.2f epochs)",
                name, f"{wanted:,}", f"{counts[name]:,}", wanted / counts[name],
            )  # fmt: skip
        orders = {name: SequenceOrder(count, seed, key=name) for name, count in counts.items()}
        return RunSequences(sources, orders, mixture)

    def validation_sources(self, spec: JobSpec) -> dict[str, SequenceSource]:
        """The sources to evaluate on, by name."""
        return {name: _source(spec, name, cache) for name, cache in self.validation.items()}


def mixture_of(spec: JobSpec) -> Mixture:
    """The mixture of a job that has `spec.data.configs`."""
    batch = spec.trainer.train_batch_size
    stages = [Stage(stage.step * batch, stage.weights) for stage in spec.data.weight_stages]
    return Mixture(list(trained_sources(spec.data)), stages, spec.trainer.seed)


def trained_sources(data: DataSpec) -> Iterator[str]:
    """The sources that give sequences in some stage."""
    for name in data.sources:
        if not data.configs or any(stage.weights.get(name, 0) > 0 for stage in data.weight_stages):
            yield name


def evaluated_sources(data: DataSpec) -> Iterator[str]:
    """The sources that have something to evaluate on."""
    for name, source in data.sources.items():
        if source.validation_urls or source.validation_split:
            yield name


def field_of(name: str) -> str:
    """The job's field that has a source."""
    return f"spec.data.configs.{name}" if name else "spec.data"


def _source(spec: JobSpec, name: str, cache: TokenCache) -> SequenceSource:
    return sequence_source(cache, spec.model.seq_len, spec.data.packing, field_of(name))


def _alone(data: DataSpec, name: str, split: Split) -> tuple[DataSpec, Split, str]:
    """A source as the data of a job that has no others: what all sources share stands in the mixture."""
    source = data.sources[name]
    if source is data:
        return data, split, field_of(name)
    own = {field: getattr(source, field) for field in DataSourceSpec.model_fields}
    shared = {field: getattr(data, field) for field in ("dtype", "on_bad_document", "tokenizer", "cache_dir")}
    return DataSpec(**own, **shared), split, field_of(name)
