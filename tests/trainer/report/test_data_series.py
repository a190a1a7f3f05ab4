"""The figures of the training data among the metrics."""

from types import SimpleNamespace

from lateen_trainer.report.progress import ProgressState
from lateen_trainer.report.prometheus import PrometheusTracker


def values(tracker: PrometheusTracker) -> dict[str, float]:
    """Of the series of the data, by name."""
    lines = tracker.exposition().decode().splitlines()
    return {
        line.partition("{")[0]: float(line.split()[-1]) for line in lines if line.startswith("lateen_trainer_data_")
    }


def test_caches_are_added_up_and_read_at_each_scrape():
    tracker = PrometheusTracker(ProgressState(lambda: 0.0))
    assert values(tracker)["lateen_trainer_data_parts"] == 0
    caches = [
        SimpleNamespace(parts=[1, 2], order=[0, 1, 2], bytes_read=100, read_retries=0),
        SimpleNamespace(parts=[1], order=[0], bytes_read=10, read_retries=2),
    ]
    for cache in caches:
        tracker.reads(cache)
    caches[0].parts.append(3)
    found = values(tracker)
    assert found["lateen_trainer_data_parts_ready"] == 4
    assert found["lateen_trainer_data_parts"] == 4
    assert found["lateen_trainer_data_read_bytes_total"] == 110
    assert found["lateen_trainer_data_read_retries_total"] == 2
