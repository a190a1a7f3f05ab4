"""Ends the process where the training loop cannot: when a peer is lost, when the loop hangs, when the grace
is over.

The loop's own ends (all steps trained, an error, saved after SIGTERM) are `lifecycle`'s. The first of them
decides.
"""

import faulthandler
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from lateen_api.progress import BEFORE_STATE, Phase, Progress, SlowestProcess
from lateen_api.spec import RecoverySpec
from lateen_api.spec.section import duration_seconds
from lateen_api.termination import ExitCode, TerminationMessage

from lateen_trainer.processes.abort import AbortGuard
from lateen_trainer.processes.event_loop import Watch
from lateen_trainer.processes.messages import Link
from lateen_trainer.processes.peer_protocol import Events, PeerProtocol
from lateen_trainer.processes.preemption_sync import PreemptionSync
from lateen_trainer.processes.step_times import RecentSteps, StepTimes
from lateen_trainer.processes.termination import STDERR, Termination, leave
from lateen_trainer.processes.watchdog import Watchdog

GRACE_BEFORE_JOIN = 15.0
GRACE_MARGIN = 0.5
"""Seconds before the end of the grace at which the process leaves by itself, to say how it ended."""

ECHO = 1.0
"""A second signal within this many seconds is the first one's echo: Ctrl-C reaches a whole process group,
and the parent then signals its children too."""

LOSS_FOLLOWS = 2.0
"""Seconds in which the watching thread learns of a lost peer after jax has."""

log = logging.getLogger(__name__)


class ProcessMonitor:
    """What the watching thread knows and decides. Methods without an underscore are for the main thread.

    Args:
        termination: where the outcome is decided.
    """

    def __init__(self, termination: Termination):
        self.agreement = PreemptionSync()
        self.guard = AbortGuard(self._aborting)
        self._termination = termination
        self._watch = Watch(on_signal=self._signalled, on_tick=self._tick, on_error=self._failed)
        self._events = Events(self._lost, self._stopping, self._agreed, self._nothing_to_save, self._everyone_done)
        self._steps = RecentSteps()
        self._peers = self._make_peers({}, hub=True, heartbeat_timeout=math.inf)
        self._watchdog = Watchdog(math.inf, now=time.monotonic())
        self._grace = GRACE_BEFORE_JOIN
        self._signalled_at: float | None = None
        self._grace_ends = math.inf
        self._checkpoint: tuple[str, int] | None = None
        self._start_step: int | None = None
        self._loss: float | None = None
        self._progress: Callable[[], Progress] | None = None
        self._signalled_process: int | None = None
        self._all_done = threading.Event()

    def start(self) -> None:
        """Takes SIGTERM and SIGINT over and begins to watch. Only Python's main thread may do so."""
        self._watch.start()

    def stop(self, *, ends_process: bool = False) -> None:
        """Gives the signals back, unless the process ends now, and ends the watch."""
        self._watch.stop(ends_process=ends_process)
        faulthandler.cancel_dump_traceback_later()

    def configure(self, recovery: RecoverySpec) -> None:
        """The job's bounds, known once it has been read."""
        self._grace = float(recovery.grace_seconds)
        self._watchdog = Watchdog(duration_seconds(recovery.hang_after), now=time.monotonic())
        self._put_off_last_resort()

    def connect(self, links: Mapping[int, Link], *, hub: bool, heartbeat_timeout: float) -> None:
        """Watches the peers from now on.

        Args:
            links: to each other process, or to process 0 alone.
            hub: whether this is process 0.
            heartbeat_timeout: seconds of silence after which a process is lost.
        """

        def begin() -> None:
            self._peers = self._make_peers(links, hub=hub, heartbeat_timeout=heartbeat_timeout)
            self._watch.interval = min(Watch.interval, self._peers.beat_interval)
            for process, link in links.items():
                self._watch.listen(link, partial(self._read, process, link))

        self._watch.call(begin)
        self.guard.install()

    def beat(self, phase: Phase, step: int) -> None:
        """A sign of life from the loop."""
        self._watchdog.beat(phase, step, time.monotonic())

    def trained(self, step: int, loss: float, times: StepTimes | None = None) -> None:
        """A sign of life from training: the steps trained, the last one's loss in nats per token, and what it took."""
        self._loss = loss
        if times is not None:
            self._steps.add(times)
        self.beat(Phase.TRAINING, step)

    @property
    def slowest(self) -> SlowestProcess | None:
        """In process 0: the process that the others wait for; None: it is not known."""
        return self._peers.slowest

    def tells_time_by(self, progress: Callable[[], Progress]) -> None:
        """An outcome says how long each phase took, as this tells."""
        self._progress = progress

    def committed(self, checkpoint: str, step: int) -> None:
        """The last committed checkpoint, and the steps trained at it."""
        self._checkpoint = (checkpoint, step)

    def started_from(self, step: int) -> None:
        """The steps that were trained when this process began."""
        self._start_step = step

    def stale(self) -> str | None:
        """Why the loop counts as not alive, or None."""
        return self._watchdog.overdue(time.monotonic())

    def complete(self) -> None:
        """Says that this process's work is done, and waits until all processes' is. A peer that is lost
        meanwhile ends the wait with the process."""
        self._watch.call(lambda: self._peers.done())
        self._all_done.wait()

    def tell_peers(self, outcome: TerminationMessage) -> None:
        """Says that this process ends before its work is complete."""
        self._watch.call(lambda: self._peers.leave(outcome.exit_code, outcome.message, outcome.lost_process))

    def outcome(self, exit_code: ExitCode, message: str, lost_process: int | None = None) -> TerminationMessage:
        """An outcome with what is known of step and checkpoint."""
        last, timed = self._watchdog.last, self._progress and self._progress()
        started = self._start_step is not None or last.phase not in BEFORE_STATE
        return TerminationMessage(
            exit_code=exit_code,
            message=message,
            step=last.step if started else None,
            checkpoint=self._checkpoint[0] if self._checkpoint else None,
            checkpoint_step=self._checkpoint[1] if self._checkpoint else None,
            loss=self._loss if self._loss is not None and math.isfinite(self._loss) else None,
            lost_process=lost_process,
            start_step=self._start_step,
            process_started_at=timed and timed.process_started_at,
            phase_seconds=timed and timed.phase_seconds,
            data_wait_seconds=timed and timed.data_wait_seconds,
            signalled_process=self._signalled_process,
        )

    def _make_peers(self, links: Mapping[int, Link], *, hub: bool, heartbeat_timeout: float) -> PeerProtocol:
        return PeerProtocol(
            links, hub=hub, heartbeat_timeout=heartbeat_timeout,
            agreement=self.agreement, steps=self._steps, events=self._events, now=time.monotonic(),
        )  # fmt: skip

    def _read(self, process: int, link: Link) -> None:
        self._peers.read(process, time.monotonic())
        if link.closed:
            self._watch.forget(link)

    def _tick(self, asleep: bool) -> None:
        now = time.monotonic()
        if asleep:
            self._peers.forgive(now)
            self._watchdog.forgive(now)
        self._peers.tick(now)
        self._put_off_last_resort()
        if now > self._grace_ends:
            self._stop_unsaved("The grace after SIGTERM is over")
        if overdue := self._watchdog.overdue(now):
            faulthandler.dump_traceback(STDERR, all_threads=True)
            self._end(ExitCode.HANG, overdue + " The stacks of all threads are in the log.")

    def _put_off_last_resort(self) -> None:
        """Should native code keep Python's lock for ever, the watching thread stands still as well. Then a
        thread of C, which is put off at every tick, prints the stacks and ends the process (with code 1)."""
        if self._watchdog.hang_after < math.inf:
            faulthandler.dump_traceback_later(self._watchdog.hang_after, exit=True, file=STDERR)

    def _signalled(self, number: int) -> None:
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            log.info("Signal %d: stopping after this step, within %.0f s", number, self._grace)
            self._stopping(self._grace)
            self._peers.request_stop(self._grace)
        elif now - self._signalled_at > ECHO:
            self._stop_unsaved("A second signal arrived")

    def _stopping(self, seconds: float) -> None:
        self._grace_ends = min(self._grace_ends, time.monotonic() + seconds - GRACE_MARGIN)

    def _agreed(self, signalled: int) -> None:
        self._signalled_process = signalled

    def _nothing_to_save(self) -> None:
        self._end(ExitCode.SAVED, "SIGTERM arrived before training began: there was nothing to save.")

    def _stop_unsaved(self, why: str) -> None:
        step = self._watchdog.last.step
        if self._checkpoint is not None and self._checkpoint[1] == step:
            self._end(ExitCode.SAVED, f"{why}; the checkpoint of the last step is committed.")
        saved = f"step {self._checkpoint[1]}" if self._checkpoint else "no step"
        self._end(ExitCode.NOT_SAVED, f"{why}; step {step} was reached, {saved} is saved.")

    def _lost(self, message: str, code: ExitCode | None, process: int | None) -> None:
        if code is ExitCode.HANG:
            # The process that noticed it first may have waited for this process.
            faulthandler.dump_traceback(STDERR, all_threads=True)
        if self._grace_ends < math.inf:
            self._stop_unsaved(message.removesuffix("."))
        self._end(ExitCode.LOST_PEER, message, process)

    def _everyone_done(self) -> None:
        self._all_done.set()

    def _end(self, exit_code: ExitCode, message: str, lost_process: int | None = None) -> None:
        """Ends the process, unless the main thread is doing so."""
        outcome = self.outcome(exit_code, message, lost_process)
        if self._termination.decide(outcome):
            self._peers.leave(exit_code, message, lost_process)
            leave(exit_code)

    def _failed(self, error: BaseException) -> None:
        """Without the watching thread nothing bounds the process's life: that ends it."""
        log.error("The watching thread failed", exc_info=error)
        if self._termination.decide(self.outcome(ExitCode.ERROR, f"The watching thread failed: {error!r}")):
            leave(ExitCode.ERROR)

    def _aborting(self) -> None:
        """Called in a thread that is about to abort(): waits for the reason, if there is another one."""
        outcome = self._termination.wait(LOSS_FOLLOWS)
        if outcome is not None:
            leave(outcome.exit_code)
