"""All that a run says about itself, in one hand: progress, numbers, signs of life."""

import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from lateen_api.environment import ProcessEnvironment
from lateen_api.plan import Plan
from lateen_api.progress import Phase
from lateen_api.wording import listing

from lateen_trainer.processes.lifecycle import Lifecycle
from lateen_trainer.processes.step_times import StepTimes
from lateen_trainer.report import names
from lateen_trainer.report.data_series import DataFigures
from lateen_trainer.report.metrics_server import MetricsServer
from lateen_trainer.report.progress import ProgressState
from lateen_trainer.report.prometheus import PrometheusTracker
from lateen_trainer.report.step_log import StepLog
from lateen_trainer.report.tracker import Tracker, Trackers

_SHOWN = 10
"""Batches that a message names."""


class Reporter:
    """Takes what the loop reports and passes it to all that want it.

    Args:
        life: gets a sign of life with everything that moves.
        environment: who this process is, and where its metrics are served.
        steps: of the whole run.
        job: name of the job, for metrics.
        namespace: of the job, for metrics; empty outside a cluster.
        began: when the process did, in seconds since the epoch; None: now.
    """

    def __init__(
        self,
        life: Lifecycle,
        environment: ProcessEnvironment,
        *,
        steps: int,
        job: str = "",
        namespace: str = "",
        began: float | None = None,
    ):
        self._life = life
        self._progress = ProgressState(began=began)
        life.tells_time_by(self._progress.timed)
        self._steps = steps
        self._step = 0
        self._remarks: dict[str, str] = {}
        self._prometheus = prometheus = PrometheusTracker(
            self._progress,
            namespace=namespace,
            job=job,
            process_id=environment.process_id,
            attempt=environment.attempt,
        )
        # One process is enough: all of them have the same loss.
        logs = [StepLog(steps)] if environment.process_id == 0 else []
        self._trackers = Trackers([prometheus, *logs])
        self._server = MetricsServer(
            environment.metrics_host,
            environment.metrics_port,
            metrics=prometheus,
            stale=life.stale,
            progress=self._progress if environment.process_id == 0 else None,
        )
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._resources.enter_context(self._server)
        self._resources.callback(lambda: self._trackers.finish())
        self.phase(Phase.STARTING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def add(self, trackers: Sequence[Tracker]) -> None:
        """From now on these get the numbers too."""
        self._trackers = Trackers([self._trackers, *trackers])

    def begin(self, plan: Plan, step: int) -> None:
        """The run goes on from `step` on the planned devices."""
        self._step = step
        self._life.started_from(step)
        peak = plan.peak_flops_per_device
        self._progress.configure(
            of=self._steps,
            step=step,
            tokens_per_step=plan.tokens_per_step,
            flops_per_token=plan.flops_per_token,
            peak_flops=None if peak is None else peak * plan.devices,
        )

    def rewound(self, step: int) -> None:
        """Training goes on from `step` trained steps again, of which there were more."""
        self._step = step
        self._progress.rewound(step)
        self._trackers.rewind(step)

    def left_out(self, batches: Sequence[int]) -> None:
        """These batches of the run are left out, by all that is known."""
        self._prometheus.left_out(len(batches))
        if batches:
            self._remark("batches", _left_out(batches))

    def reads(self, source: DataFigures) -> None:
        """This is a source of the training data; its figures are among the metrics."""
        self._prometheus.reads(source)

    def skipped_documents(self, count: int) -> None:
        """So many bad documents are left out of the caches that the run reads."""
        self._prometheus.skipped_documents(count)
        if count:
            which = "1 bad document was" if count == 1 else f"{count:,} bad documents were"
            self._remark("documents", f"{which} left out of the data (spec.data.onBadDocument: skip).")

    def _remark(self, subject: str, sentence: str) -> None:
        self._remarks[subject] = sentence
        self._life.remark(" ".join(self._remarks.values()))

    def damaged_checkpoints(self, count: int) -> None:
        """That many checkpoints of the run are damaged and lie set aside."""
        self._prometheus.damaged_checkpoints(count)

    def phase(self, phase: Phase, detail: str | None = None) -> None:
        """What the process is at; with the same phase again: that it moves."""
        self._progress.enter(phase, detail)
        self._life.beat(phase, self._step)

    def data_ready(self) -> None:
        """What training begins with is tokenized."""
        self._progress.data_ready()

    def is_in(self, phase: Phase) -> bool:
        """Whether this is the phase that was reported last."""
        return self._progress.snapshot().phase is phase

    def trained(self, step: int, metrics: Mapping[str, float], *, idle: float = 0.0) -> None:
        """The numbers of the last of `step` trained steps.

        Args:
            idle: seconds in which the devices had nothing to do until they got the step.
        """
        self._step = step
        waited = metrics.get(names.DATA_WAIT_SECONDS, 0.0)
        took = metrics.get(names.STEP_SECONDS)
        times = None if took is None else StepTimes(took, idle, waited)
        self._life.trained(step, metrics[names.LOSS], times)
        slowest = self._life.slowest_process
        self._progress.trained(step, loss=metrics[names.LOSS], data_wait=waited, slowest=slowest)
        rates = {names.TOKENS_PER_SECOND: self._progress.tokens_per_second, names.MFU: self._progress.mfu}
        self._trackers.log(
            {**metrics, **{name: value for name, value in rates.items() if value is not None}}, step=step
        )

    def evaluated(self, step: int, loss: float, by_source: Mapping[str, float] | None = None) -> None:
        """The validation loss after `step` steps, and those of the sources of a mixture by name."""
        self._progress.evaluated(loss)
        of_sources = {names.VALIDATION_LOSS_OF.format(source=name): one for name, one in (by_source or {}).items()}
        self.noted(step, {names.VALIDATION_LOSS: loss, **of_sources})

    def noted(self, step: int, metrics: Mapping[str, float]) -> None:
        """Further numbers of the last of `step` trained steps."""
        self._trackers.log(metrics, step=step)

    def committed(self, checkpoint: str, step: int) -> None:
        """A checkpoint after `step` steps is committed."""
        self._progress.committed(checkpoint, step)
        self._life.committed(checkpoint, step)


def _left_out(batches: Sequence[int]) -> str:
    """A sentence for people."""
    shown = [*batches[:_SHOWN], *([f"{len(batches) - _SHOWN} more"] if len(batches) > _SHOWN else [])]
    which = f"Batch {batches[0]} was" if len(batches) == 1 else f"Batches {listing(shown, 'and')} were"
    return f"{which} left out, since the loss was not finite."
