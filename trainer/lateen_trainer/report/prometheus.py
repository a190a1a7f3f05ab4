"""The numbers of a trainer process in Prometheus' format, all named `lateen_trainer_*`."""

import math
from collections.abc import Mapping
from importlib.metadata import version

from lateen_api.progress import Phase
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from lateen_trainer.report import names
from lateen_trainer.report.progress import ProgressState

STEP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
CHECKPOINT_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class PrometheusTracker:
    """A tracker whose numbers are scraped. It has a registry of its own.

    Args:
        progress: where steps, tokens, phase and speed are read from at each scrape.
        process_id: number of the process, as a label.
        attempt: number of the attempt, as a label.
    """

    def __init__(self, progress: ProgressState, *, process_id: int, attempt: int):
        self._progress = progress
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def gauge(name: str, what: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"lateen_trainer_{name}", what, labels, registry=registry)

        def counter(name: str, what: str) -> Counter:
            return Counter(f"lateen_trainer_{name}", what, registry=registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"lateen_trainer_{name}", what, buckets=buckets, registry=registry)

        info = gauge("info", "1, with what this process is as labels", ("process", "attempt", "version", "jax"))
        info.labels(str(process_id), str(attempt), version("lateen"), version("jax")).set(1)

        self._phase = gauge("phase", "1 for the phase that the process is in, 0 for the others", ("phase",))
        self._step = gauge("step", "Steps trained, over all attempts")
        self._target = gauge("target_steps", "Steps in all")
        self._run_tokens = gauge("run_tokens", "Tokens trained on since step 0, over all attempts")
        self._since = gauge("last_step_timestamp_seconds", "When the phase began or its last step ended")
        self._speed = gauge("tokens_per_second", "Tokens trained on a second, over all devices, moving average")
        self._mfu = gauge("mfu_ratio", "Model FLOPs utilisation, 0 to 1; NaN: the device's peak is not known")
        self._left_out = gauge("skipped_batches", "Batches left out since the loss was not finite, over all attempts")
        self._checkpoint_step = gauge("checkpoint_last_step", "Steps trained at the last committed checkpoint")

        # Counters begin at 0 in each process, so that rate() is right across restarts.
        self._steps = counter("steps", "Steps trained in this attempt")
        self._tokens = counter("tokens", "Tokens trained on in this attempt, over all devices")
        self._gauges = {
            names.LOSS: gauge("loss", "Training loss, nats a token"),
            names.VALIDATION_LOSS: gauge("validation_loss", "Loss of the last evaluation, nats a token"),
            names.LEARNING_RATE: gauge("learning_rate", "Learning rate"),
            names.GRAD_NORM: gauge("grad_norm", "Norm of the whole gradient before clipping"),
            names.CHECKPOINT_BYTES: gauge("checkpoint_bytes", "Size of the last checkpoint"),
        }
        self._counters = {
            names.DATA_WAIT_SECONDS: counter("data_wait_seconds", "Time that the loop waited for batches"),
            names.COMPILE_SECONDS: counter("compile_seconds", "Time that XLA compiled or loaded programs"),
            names.CHECKPOINT_BLOCKED_SECONDS: counter(
                "checkpoint_blocked_seconds", "Time that the loop waited for checkpoints"
            ),
        }
        self._histograms = {
            names.STEP_SECONDS: histogram("step_seconds", "Time of a step", STEP_BUCKETS),
            names.CHECKPOINT_SECONDS: histogram(
                "checkpoint_seconds", "From a checkpoint's snapshot to its commit", CHECKPOINT_BUCKETS
            ),
        }

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

    def rewind(self, step: int) -> None:
        """Nothing is to be done: these are the present numbers, and counters count what was done."""

    def finish(self) -> None:
        """Nothing is to be done: the last numbers stay to be scraped."""

    def exposition(self) -> bytes:
        """What /metrics answers."""
        self._read_progress()
        return generate_latest(self._registry)

    def _read_progress(self) -> None:
        progress = self._progress.snapshot()
        for phase in Phase:
            self._phase.labels(phase.value).set(phase is progress.phase)
        self._step.set(progress.step)
        self._target.set(progress.of)
        self._run_tokens.set(progress.tokens)
        self._since.set(progress.since)
        self._speed.set(progress.tokens_per_second or 0.0)
        self._mfu.set(math.nan if progress.mfu is None else progress.mfu)
        self._checkpoint_step.set(math.nan if progress.last_checkpoint_step is None else progress.last_checkpoint_step)
