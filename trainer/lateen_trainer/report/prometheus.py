"""The metrics of a trainer process in Prometheus' format, all named `lateen_trainer_*`.

Each series says which job and process it is of, in labels that no scrape configuration sets by itself, so that
dashboards and alerts read the same whatever scrapes. docs/metrics.md is generated from the names and texts here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax
from lateen_api.progress import Phase
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from lateen_trainer.report import names
from lateen_trainer.report.data_series import DataFigures, DataSeries
from lateen_trainer.report.progress import ProgressState

PREFIX = "lateen_trainer_"
OWNER = ("training_job_namespace", "training_job", "process")
"""Labels of every series."""

STEP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
CHECKPOINT_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)

_MEMORY = {"bytes_in_use": "in_use", "peak_bytes_in_use": "peak", "bytes_limit": "limit"}
"""Figures of a JAX device's `memory_stats`, and what they are called here."""


class PrometheusTracker:
    """A tracker whose numbers are scraped. It has a registry of its own.

    Args:
        progress: where steps, tokens, phase and speed are read from at each scrape.
        namespace: of the job; empty outside a cluster.
        job: its name.
        process_id: number of the process.
        attempt: number of the attempt.
    """

    def __init__(
        self, progress: ProgressState, *, namespace: str = "", job: str = "", process_id: int = 0, attempt: int = 1
    ):
        self._progress = progress
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._owner = (namespace, job, str(process_id))
        gauge, counter, histogram = self._gauge, self._counter, self._histogram

        info = gauge(
            "info", "1; versions and the number of the attempt are in the labels.", "attempt", "version", "jax"
        )
        info.labels(*self._owner, str(attempt), version("lateen"), version("jax")).set(1)
        self._phase = gauge("phase", "1 for the phase that the process is in, 0 for the others.", "phase")
        self.registry.register(_PhaseSeconds(progress, self._owner))
        self._data = DataSeries(PREFIX, OWNER, self._owner)
        self.registry.register(self._data)
        self._device_memory = gauge("device_memory_bytes", "Memory of a local accelerator.", "device", "use")

        self._step = gauge("step", "Completed optimizer steps, over all attempts.")
        self._target = gauge("target_steps", "Optimizer steps of the whole job.")
        self._run_tokens = gauge("run_tokens", "Tokens trained on since step 0, over all attempts.")
        self._since = gauge("last_progress_timestamp_seconds", "When the phase began or its last step ended.")
        self._speed = gauge("tokens_per_second", "Tokens per second over all devices, moving average of 50 steps.")
        self._mfu = gauge("mfu_ratio", "Model FLOPs utilisation, 0 to 1; NaN if the device's peak is not known.")
        self._left_out = self._of_owner(gauge("skipped_batches", "Batches left out because the loss was not finite."))
        self._damaged = self._of_owner(gauge("damaged_checkpoints", "Damaged checkpoints that were set aside."))
        self._skipped_documents = self._of_owner(
            gauge("skipped_documents", "Documents that the token caches lack because they could not be read.")
        )
        self._checkpoint_step = gauge("checkpoint_step", "Completed steps at the last committed checkpoint.")
        self._committed_at = gauge(
            "checkpoint_timestamp_seconds", "When the last checkpoint was committed or restored."
        )

        # Counters begin at 0 in each process, so that rate() is right across restarts.
        self._steps = self._of_owner(counter("steps", "Optimizer steps completed by this attempt."))
        self._tokens = self._of_owner(counter("tokens", "Tokens trained on by this attempt, over all devices."))
        self._gauges = self._of_all(
            {
                names.LOSS: gauge("loss", "Training loss of the last step, in nats per token."),
                names.VALIDATION_LOSS: gauge("validation_loss", "Loss of the last evaluation, in nats per token."),
                names.LEARNING_RATE: gauge("learning_rate", "Learning rate of the last step."),
                names.GRAD_NORM: gauge("gradient_norm", "Norm of the whole gradient before clipping."),
                names.CHECKPOINT_BYTES: gauge("checkpoint_size_bytes", "Size of the last checkpoint, uncompressed."),
            }
        )
        self._counters = self._of_all(
            {
                names.DATA_WAIT_SECONDS: counter("data_wait_seconds", "Seconds that the loop waited for batches."),
                names.COMPILE_SECONDS: counter("compile_seconds", "Seconds spent compiling or loading programs."),
                names.CHECKPOINT_BLOCKED_SECONDS: counter(
                    "checkpoint_blocked_seconds", "Seconds that the loop waited for checkpoints."
                ),
            }
        )
        self._histograms = self._of_all(
            {
                names.STEP_SECONDS: histogram("step_duration_seconds", "Duration of a step.", STEP_BUCKETS),
                names.CHECKPOINT_SECONDS: histogram(
                    "checkpoint_duration_seconds", "From a checkpoint's snapshot to its commit.", CHECKPOINT_BUCKETS
                ),
            }
        )

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, documentation, (*OWNER, *labels), registry=self.registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, documentation, (*OWNER, *labels), registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(PREFIX + name, documentation, OWNER, buckets=buckets, registry=self.registry)

    def _of_owner(self, family: Any) -> Any:
        """The series of this process, which stands at 0 from now on."""
        return family.labels(*self._owner)

    def _of_all(self, families: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._of_owner(family) for name, family in families.items()}

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Takes the numbers that have a place here; others are left to the other trackers."""
        if names.LOSS in metrics:
            self._steps.inc()
            self._tokens.inc(self._progress.tokens_per_step)
        for name, value in metrics.items():
            if name in self._gauges:
                self._gauges[name].set(value)
            elif name in self._counters:
                self._counters[name].inc(value)
            elif name in self._histograms:
                self._histograms[name].observe(value)

    def left_out(self, count: int) -> None:
        """Takes the number of batches that are left out."""
        self._left_out.set(count)

    def damaged_checkpoints(self, count: int) -> None:
        """Takes the number of checkpoints that lie set aside because they are damaged."""
        self._damaged.set(count)

    def skipped_documents(self, count: int) -> None:
        """Takes the number of documents that were left out when the caches were built."""
        self._skipped_documents.set(count)

    def reads(self, source: DataFigures) -> None:
        """This is a source of the training data."""
        self._data.sources.append(source)

    def rewind(self, step: int) -> None:
        """Nothing is to be done: these are the present numbers, and counters count what was done."""

    def finish(self) -> None:
        """Nothing is to be done: the last numbers stay to be scraped."""

    def exposition(self) -> bytes:
        """What /metrics answers."""
        self._read_progress()
        self._read_memory()
        return generate_latest(self.registry)

    def _read_progress(self) -> None:
        progress = self._progress.snapshot()
        for phase in Phase:
            self._phase.labels(*self._owner, phase.value).set(phase is progress.phase)
        for gauge, value in (
            (self._step, progress.step),
            (self._target, progress.of),
            (self._run_tokens, progress.tokens),
            (self._since, progress.since),
            (self._speed, progress.tokens_per_second or 0.0),
            (self._mfu, _or_nan(progress.mfu)),
            (self._checkpoint_step, _or_nan(progress.last_checkpoint_step)),
            (self._committed_at, _or_nan(self._progress.committed_at)),
        ):
            self._of_owner(gauge).set(value)

    def _read_memory(self) -> None:
        """Before `jax` has its devices there is nothing to read, and asking for them would set it up."""
        if self._progress.tokens_per_step == 0:
            return
        for device in jax.local_devices():
            statistics = device.memory_stats() or {}
            for figure, use in _MEMORY.items():
                if figure in statistics:
                    self._device_memory.labels(*self._owner, str(device.id), use).set(statistics[figure])


class _PhaseSeconds(Collector):
    """The time spent in each phase, read at each scrape."""

    def __init__(self, progress: ProgressState, owner: tuple[str, ...]):
        self._progress, self._owner = progress, owner

    def collect(self) -> Iterator[Metric]:
        documentation = "Seconds spent in each phase by this process; they add up to its age."
        family = CounterMetricFamily(f"{PREFIX}phase_seconds", documentation, labels=(*OWNER, "phase"))
        spent = self._progress.phase_seconds()
        for phase in Phase:
            family.add_metric((*self._owner, phase.value), spent.get(phase, 0.0))
        yield family


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
