"""The figures of the training data's cache in Prometheus' format, read at each scrape."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class DataFigures(Protocol):
    """What the training data's cache counts."""

    bytes_read: int
    read_retries: int

    @property
    def parts(self) -> Sequence[Any]:
        """The parts that can be read."""
        ...

    @property
    def order(self) -> Sequence[int]:
        """All parts."""
        ...


class DataSeries(Collector):
    """0 each before the cache is opened.

    Args:
        prefix: of the metrics' names.
        labels: of every series.
        owner: their values.
    """

    def __init__(self, prefix: str, labels: Sequence[str], owner: Sequence[str]):
        self._prefix, self._labels, self._owner = prefix, labels, owner
        self.data: DataFigures | None = None

    def collect(self) -> Iterator[Metric]:
        data = self.data
        ready, parts = (0, 0) if data is None else (len(data.parts), len(data.order))
        nbytes, retries = (0, 0) if data is None else (data.bytes_read, data.read_retries)
        yield self._family(GaugeMetricFamily, "parts_ready", "Parts of the training data that can be read.", ready)
        yield self._family(GaugeMetricFamily, "parts", "Parts of the training data in all.", parts)
        yield self._family(CounterMetricFamily, "read_bytes", "Bytes of tokens read from the cache.", nbytes)
        yield self._family(CounterMetricFamily, "read_retries", "Reads of tokens that were tried again.", retries)

    def _family(self, kind: type[Any], name: str, documentation: str, value: float) -> Metric:
        family = kind(f"{self._prefix}data_{name}", documentation, labels=self._labels)
        family.add_metric(self._owner, value)
        return family
