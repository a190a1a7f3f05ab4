"""The figures of the training data's caches in Prometheus' format, read at each scrape."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class DataFigures(Protocol):
    """What the cache of a source counts."""

    @property
    def bytes_read(self) -> int:
        """Of the arrays, by this process."""
        ...

    @property
    def read_retries(self) -> int:
        """Reads that were tried again."""
        ...

    @property
    def parts(self) -> Sequence[Any]:
        """The parts that can be read."""
        ...

    @property
    def order(self) -> Sequence[int]:
        """All parts."""
        ...


class DataSeries(Collector):
    """Sums over the sources of the training data; 0 before the first cache is opened.

    Args:
        prefix: of the metrics' names.
        labels: of every series.
        owner: their values.
    """

    def __init__(self, prefix: str, labels: Sequence[str], owner: Sequence[str]):
        self._prefix, self._labels, self._owner = prefix, labels, owner
        self.sources: list[DataFigures] = []

    def collect(self) -> Iterator[Metric]:
        ready = sum(len(source.parts) for source in self.sources)
        parts = sum(len(source.order) for source in self.sources)
        nbytes = sum(source.bytes_read for source in self.sources)
        retries = sum(source.read_retries for source in self.sources)
        yield self._family(GaugeMetricFamily, "parts_ready", "Parts of the training data that can be read.", ready)
        yield self._family(GaugeMetricFamily, "parts", "Parts of the training data in all.", parts)
        yield self._family(CounterMetricFamily, "read_bytes", "Bytes of tokens read from the cache.", nbytes)
        yield self._family(CounterMetricFamily, "read_retries", "Reads of tokens that were tried again.", retries)

    def _family(self, kind: type[Any], name: str, documentation: str, value: float) -> Metric:
        family = kind(f"{self._prefix}data_{name}", documentation, labels=self._labels)
        family.add_metric(self._owner, value)
        return family
