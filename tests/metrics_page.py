"""docs/metrics.md, generated from the metrics that operator and trainer register: `python -m metrics_page`."""

from collections.abc import Iterator
from pathlib import Path

from lateen_operator.cluster.metrics import Metrics
from lateen_trainer.report.progress import ProgressState
from lateen_trainer.report.prometheus import OWNER, PREFIX, PrometheusTracker
from prometheus_client import CollectorRegistry

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

_INTRODUCTION = """# Metrics

This page is generated from the code. All metrics are in Prometheus' text format and in base units. Counters count
from 0 in each process; series whose labels are known stand at 0 from the first scrape.

`process_*` metrics (CPU, memory, open files) are those of Prometheus' own client libraries.
"""


def page() -> str:
    """The page."""
    trainer = PrometheusTracker(ProgressState())
    labels = ", ".join(f"`{label}`" for label in OWNER)
    parts = [
        _INTRODUCTION,
        "\n## Trainer\n\nEach process of an attempt serves `/metrics` on port 8080 (the operator's "
        "`--metrics-port`; any free one with `lateen run`). "
        f"All series have the labels {labels}.\n\n",
        *_table(trainer.registry, PREFIX, OWNER),
        "\n## Operator\n\nThe operator serves `/metrics` on its port 8080.\n\n",
        *_table(Metrics().registry, "lateen_operator_", ()),
    ]
    return "".join(parts)


def _table(registry: CollectorRegistry, prefix: str, common: tuple[str, ...]) -> Iterator[str]:
    yield "| name | type | labels | what it is |\n|---|---|---|---|\n"
    for name, (kind, labels, documentation) in sorted(_families(registry).items()):
        if name.startswith(prefix):
            shown = ", ".join(f"`{label}`" for label in labels if label not in common)
            suffix = "_total" if kind == "counter" else ""
            yield f"| `{name}{suffix}` | {kind} | {shown} | {documentation} |\n"


def _families(registry: CollectorRegistry) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Type, labels and text of each family."""
    found = {}
    for collector in set(registry._collector_to_names):
        labels = tuple(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            own = getattr(family, "_labelnames", None)
            found[family.name] = (family.type, tuple(labels if own is None else own), family.documentation)
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
