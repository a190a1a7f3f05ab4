"""Where the run is: updated by the loop, read by the metrics server."""

import threading
import time
from collections import deque
from collections.abc import Callable

from lateen_api.progress import Phase, Progress, SlowestProcess

WINDOW = 50
"""Steps over which speed is averaged."""


class ProgressState:
    """The state behind /progress. All methods may be called from any thread.

    Args:
        clock: seconds since the epoch.
        began: when the process did; None: now.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, began: float | None = None):
        self._clock = clock
        self._lock = threading.Lock()
        began = clock() if began is None else began
        self._progress = Progress(phase=Phase.STARTING, since=began, process_started_at=began)
        self._recent: deque[float] = deque(maxlen=WINDOW)  # seconds of the last steps
        self._committed_at: float | None = None
        self._tokens_per_step = 0
        self._flops_per_token: float | None = None
        self._peak_flops: float | None = None

    def configure(
        self,
        *,
        of: int,
        step: int,
        tokens_per_step: int,
        flops_per_token: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        """What is known once the job is planned and the state is restored.

        Args:
            of: steps in all.
            step: steps trained already.
            tokens_per_step: tokens of a batch.
            flops_per_token: training FLOPs a token; None: no MFU.
            peak_flops: peak FLOP/s of all devices together; None: no MFU.
        """
        with self._lock:
            self._tokens_per_step = tokens_per_step
            self._flops_per_token = flops_per_token
            self._peak_flops = peak_flops
            self._change(of=of, start_step=step, step=step, tokens=step * tokens_per_step)

    def rewound(self, step: int) -> None:
        """The state of `step` steps was restored."""
        with self._lock:
            self._change(step=step, tokens=step * self._tokens_per_step, loss=None)

    def enter(self, phase: Phase, detail: str | None = None) -> None:
        """A phase begins; in the same phase, only what it is at has changed."""
        with self._lock:
            begun: dict[str, object] = {}
            if phase is not self._progress.phase:
                now = self._clock()
                begun = {"since": now, "phase_seconds": _spent(self._progress, now)}
            self._change(phase=phase, detail=detail, **begun)

    def trained(
        self,
        step: int,
        *,
        loss: float | None = None,
        data_wait: float = 0.0,
        slowest: SlowestProcess | None = None,
    ) -> None:
        """A step ended. Its time counts for the speed if all of it was training: neither the first step,
        which is compiled, nor evaluation and saving do.

        Args:
            step: steps trained now.
            loss: of the last step: nats per token.
            data_wait: seconds of the step that were spent waiting for its batch.
            slowest: the process that the others wait for.
        """
        with self._lock:
            now = self._clock()
            if self._progress.phase is Phase.TRAINING:
                self._recent.append(now - self._progress.since)
            self._change(
                phase=Phase.TRAINING,
                phase_seconds=_spent(self._progress, now),
                data_wait_seconds=self._progress.data_wait_seconds + data_wait,
                detail=None,
                since=now,
                step=step,
                tokens=step * self._tokens_per_step,
                loss=loss,
                tokens_per_second=(speed := self._speed()),
                mfu=self._utilisation(speed),
                slowest_process=slowest,
            )

    def data_ready(self) -> None:
        """What training begins with is tokenized."""
        with self._lock:
            self._change(data_ready=True)

    def evaluated(self, validation_loss: float) -> None:
        """An evaluation ended: nats per token."""
        with self._lock:
            self._change(validation_loss=validation_loss)

    def committed(self, checkpoint: str, step: int) -> None:
        """A checkpoint of `step` steps is committed."""
        with self._lock:
            if step != self._progress.last_checkpoint_step:
                self._committed_at = self._clock()
            self._change(last_checkpoint=checkpoint, last_checkpoint_step=step)

    @property
    def committed_at(self) -> float | None:
        """When the last checkpoint was committed or restored: seconds since the epoch; None: there is none."""
        return self._committed_at

    def phase_seconds(self) -> dict[Phase, float]:
        """Seconds spent in each phase so far. They add up to the age of this object."""
        return _spent(self._progress, self._clock())

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a batch; 0 before `configure`."""
        return self._tokens_per_step

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens trained on a second, averaged over the last `WINDOW` steps; None: no step was timed yet."""
        return self._progress.tokens_per_second

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation, 0 to 1 (Chowdhery et al., https://arxiv.org/abs/2204.02311, appendix B);
        None: not known."""
        return self._progress.mfu

    def snapshot(self) -> Progress:
        """The present state."""
        return self._progress

    def timed(self) -> Progress:
        """The present state with the time in each phase up to now. Waits for no other thread."""
        progress = self._progress
        return progress.model_copy(update={"phase_seconds": _spent(progress, self._clock())})

    def _speed(self) -> float | None:
        elapsed = sum(self._recent)
        return self._tokens_per_step * len(self._recent) / elapsed if elapsed > 0 else None

    def _utilisation(self, tokens_per_second: float | None) -> float | None:
        if tokens_per_second is None or self._flops_per_token is None or self._peak_flops is None:
            return None
        return self._flops_per_token * tokens_per_second / self._peak_flops

    def _change(self, **fields: object) -> None:
        """Called with the lock held. Readers see the old or the new object, never a mixture."""
        self._progress = self._progress.model_copy(update=fields)


def _spent(progress: Progress, now: float) -> dict[Phase, float]:
    """Seconds in each phase up to now."""
    spent, phase = progress.phase_seconds, progress.phase
    return {**spent, phase: spent.get(phase, 0.0) + max(0.0, now - progress.since)}
