"""Runs a job on this machine to its end: observes, asks `reconcile`, applies the answer, and again."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lateen_api import os_errors
from lateen_api.progress import Phase, Progress
from lateen_api.spec import RecoverySpec

from lateen_operator import wording
from lateen_operator.attempts import Attempt, Fail, Finish, Start, Wait
from lateen_operator.local import ledger
from lateen_operator.local.folder import ELSEWHERE
from lateen_operator.local.interrupts import Interrupts
from lateen_operator.local.losses import LossCurve, read_metrics
from lateen_operator.local.messages import between_attempts, going_on, started_from, stopping
from lateen_operator.local.running import Launch, RunningAttempt
from lateen_operator.local.view import Display, View
from lateen_operator.observation import Observation, Target
from lateen_operator.reconcile import Decision, Kill, RecordEnd, Suspend, Terminate, Timeouts, reconcile

# -P: a file `random.py` in the user's folder must not take the place of Python's own.
TRAINER = (sys.executable, "-P", "-m", "lateen_api.cli", "train")
LOOK_AGAIN_SECONDS = 0.25


@dataclass(frozen=True)
class RunResult:
    """How `lateen run` ended."""

    attempts: tuple[Attempt, ...]
    """The whole ledger of the run, earlier invocations included."""

    decision: Finish | Fail | Suspend
    requests: tuple[int, ...] = ()
    """Signals that asked to stop."""

    @property
    def exit_code(self) -> int:
        """0 when complete; the trainer's code when it failed; 128 + signal when it was stopped."""
        match self.decision:
            case Finish():
                return 0
            case Fail(verdict=verdict):
                return verdict.exit_code
            case Suspend():
                return 128 + self.requests[0]


class Supervisor:
    """One invocation of `lateen run`.

    Args:
        name: of the job.
        where: devices in words, for the display.
        launch: how processes are started.
        recovery: budgets and time limits.
        display: gets views and messages.
        earlier: attempts of earlier invocations: numbers go on from there. They are not counted in the budgets, since
            somebody looked at the job in between.
        timeouts: bounds for processes that should leave.
    """

    def __init__(
        self,
        name: str,
        where: str,
        launch: Launch,
        recovery: RecoverySpec,
        display: Display,
        *,
        earlier: Sequence[Attempt] = (),
        timeouts: Timeouts | None = None,
    ):
        self._name = name
        self._where = where
        self._launch = launch
        self._recovery = recovery
        self._display = display
        self._earlier = tuple(earlier)
        self._attempts: tuple[Attempt, ...] = ()
        self._timeouts = timeouts or Timeouts()
        self._running: RunningAttempt | None = None
        self._clock = steady_clock()
        self._began = self._clock()
        self._losses: LossCurve | None = None

    def run(self) -> RunResult:
        """Until the job is complete, failed or stopped. No process is left behind, whatever is raised."""
        with Interrupts() as interrupts:
            try:
                return self._loop(interrupts)
            finally:
                if self._running:
                    self._running.reap()
                    self._running.close()
                self._display.close()

    def _loop(self, interrupts: Interrupts) -> RunResult:
        heard = 0
        while True:
            seen = self._observe(len(interrupts.requests))
            decision = reconcile(seen, self._clock(), timeouts=self._timeouts, first=len(self._earlier) + 1)
            if isinstance(decision, Finish | Fail | Suspend):
                return RunResult(self._ledger, decision, tuple(interrupts.requests))
            if len(interrupts.requests) > heard:
                heard = len(interrupts.requests)
                self._display.say(stopping(heard, self._recovery.grace_seconds))
            self._apply(decision)
            self._show()
            if isinstance(decision, Wait):
                interrupts.wait(min(LOOK_AGAIN_SECONDS, max(0.01, decision.until - self._clock())))

    @property
    def _ledger(self) -> tuple[Attempt, ...]:
        return self._earlier + self._attempts

    def _observe(self, stop_requests: int) -> Observation:
        running = self._running
        target = Target(self._recovery, self._launch.hosts)
        if running is None:
            return Observation(target, self._attempts, stop_requests=stop_requests)
        running.observe()
        self._take_note(running.record())
        answers = running.answers
        return Observation(
            target,
            self._attempts,
            processes=running.processes,
            stop_requests=stop_requests,
            terminating_since=running.terminating_since,
            killed=running.killed,
            cause=running.cause,
            progress=answers.progress,
            silent_since=answers.silent_since,
            moved_at=answers.moved_at,
            slow=answers.slow,
        )

    def _take_note(self, attempt: Attempt) -> None:
        """Replaces the entry of the attempt that runs."""
        before = self._attempts[-1]
        self._attempts = (*self._attempts[:-1], attempt)
        first, is_new_run = attempt.first_step, len(self._ledger) == 1
        if before.first_step is None and first is not None and not (is_new_run and first == 0):
            self._display.say(started_from(attempt.number, first, self._known_before))
        if attempt.checkpoint_step != before.checkpoint_step:
            # For a `lateen run` after this one: it must know that there is a checkpoint, however this one ends.
            ledger.write(self._launch.folder, self._ledger)

    @property
    def _known_before(self) -> int | None:
        """Step of the last checkpoint that was known when the attempt that runs began."""
        return self._ledger[-2].checkpoint_step if len(self._ledger) > 1 else None

    def _apply(self, decision: Decision) -> None:
        running = self._running
        match decision:
            case Start(number=number):
                self._start(number)
            case Terminate(cause=cause) if running:
                running.tell(cause)
            case Kill(cause=cause) if running:
                running.kill(cause)
            case RecordEnd(verdict=verdict) if running:
                running.close()
                self._take_note(running.record(verdict))
                self._running = None
                self._write_ledger_at_the_end()
            case _:
                pass

    def _write_ledger_at_the_end(self) -> None:
        """How the attempt ended matters more than a ledger that cannot be written: that is only said."""
        try:
            ledger.write(self._launch.folder, self._ledger)
        except OSError as error:
            self._display.say(os_errors.explain(error, elsewhere=ELSEWHERE))

    def _start(self, number: int) -> None:
        last = self._ledger[-1] if self._ledger else None
        if self._attempts:
            self._display.say(between_attempts(self._attempts[-1]))
        elif last:
            self._display.say(going_on(last))
        attempt = Attempt(
            number=number,
            hosts=self._launch.hosts,
            started_at=self._clock(),
            checkpoint_step=last.checkpoint_step if last else None,
            checkpoint=last.checkpoint if last else None,
        )
        self._attempts += (attempt,)
        # Written first: after a power cut, numbers and logs of this attempt are not given to another.
        ledger.write(self._launch.folder, self._ledger)
        self._running = RunningAttempt(self._launch, attempt, self._clock)

    def _show(self) -> None:
        if self._running is None:
            return
        if self._losses is None:
            # After the processes were started, so that a long file costs them no time.
            self._losses, _ = read_metrics(self._launch.folder.metrics)
        progress = self._running.answers.progress or Progress(phase=Phase.STARTING, since=self._began)
        if progress.step:
            self._losses.add(progress.step, progress.loss)
        self._display.show(
            View(
                name=self._name,
                where=self._where,
                folder=wording.shown(self._launch.folder.path),
                attempt=self._attempts[-1].number,
                elapsed=self._clock() - self._began,
                progress=progress,
                losses=self._losses.points(),
            )
        )


def steady_clock() -> Callable[[], float]:
    """A clock of seconds since the epoch that never jumps, whatever happens to the machine's."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
