"""What the training loop holds of its process: meet the peers, show signs of life, ask whether to stop."""

import logging
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Self

import jax
from lateen_api import os_errors
from lateen_api.environment import ProcessEnvironment
from lateen_api.errors import JobError
from lateen_api.progress import Phase, Progress, SlowestProcess
from lateen_api.spec import RecoverySpec
from lateen_api.spec.section import duration_seconds
from lateen_api.termination import ExitCode, TerminationMessage

from lateen_trainer.errors import LostPeerError, TrainerError
from lateen_trainer.processes.accelerator import choose_devices
from lateen_trainer.processes.join import Peers, join
from lateen_trainer.processes.numerics import pin_numerics
from lateen_trainer.processes.process_monitor import LOSS_FOLLOWS, ProcessMonitor
from lateen_trainer.processes.program_cache import keep_compiled_programs, write_from_every_process
from lateen_trainer.processes.step_times import StepTimes
from lateen_trainer.processes.termination import Termination

BROKEN_CONNECTION = re.compile(r"Gloo .* failed: .*(Connection (reset|closed|refused)|Broken pipe)", re.DOTALL)
"""What jax raises (as ValueError) when a collective on CPU loses a peer."""

log = logging.getLogger(__name__)


class Lifecycle:
    """A trainer process from its first line to its exit code.

        with Lifecycle(environment, ends_process=True) as life:
            job = ...                                  # a UserError here ends with code 40
            peers = life.join(job.spec.recovery, devices_per_host=2)
            life.beat(Phase.COMPILING, step)
            for step in range(start, stop):
                ...                                    # and life.begun() in the first
                life.beat(Phase.TRAINING, step + 1)
                if life.should_stop():
                    save(); life.committed(name, step + 1); life.saved(); break
        leave(life.exit_code)

    What leaves the block is turned into an exit code and the termination message: nothing → DONE (or SAVED
    after `saved()`), TrainerError and JobError → their code, a full disk and the like → USER_ERROR or ERROR
    (`lateen_api.os_errors`), anything else → ERROR with its traceback. The block never raises; a process with peers
    waits at its end until all of them are done.

    Some ends do not come from the block: a lost peer, a hang, a stop before training began and the end of the
    grace make the watching thread write the outcome and leave at once, wherever the main thread is.
    """

    def __init__(
        self, environment: ProcessEnvironment, *, done: str = "All steps are trained.", ends_process: bool = False
    ):
        """
        Args:
            environment: who this process is.
            done: what the termination message says when the block has ended well.
            ends_process: nothing but `leave` comes after the block. A signal that arrives in between is ignored then,
                else it would be what the process ended by.
        """
        self._environment = environment
        self._ends_process = ends_process
        self._done = done
        self._termination = Termination(environment.termination_log)
        self._monitor = ProcessMonitor(self._termination)
        self._peers = Peers(environment.process_id, environment.process_count)
        self._saved = False
        self._broken: TrainerError | None = None
        self._remark = ""

    @property
    def exit_code(self) -> ExitCode:
        """How the block ended; to be read after it."""
        assert self._termination.outcome is not None, "the exit code is known once the block has ended"
        return self._termination.outcome.exit_code

    def __enter__(self) -> Self:
        self._monitor.start()
        return self

    def join(self, recovery: RecoverySpec, *, devices_per_host: int | None, cpu_threads: int | None = None) -> Peers:
        """Sets jax up and meets the other processes. Call it before jax's first use.

        Args:
            recovery: heartbeat time-out, hang bound, grace and start deadline.
            devices_per_host: jax CPU devices of this process; None: the accelerator's own (GPU, TPU).
            cpu_threads: of XLA's pool on CPU; None: as many as cores.

        Raises:
            LostPeerError: not all processes came within `recovery.startDeadline`, or one left meanwhile.
            UserError: the coordinator's port is taken, or process 0 belongs to another job.
        """
        self._monitor.configure(recovery)
        pin_numerics()
        choose_devices(devices_per_host, cpu_threads)
        if keep_compiled_programs() is not None and devices_per_host is not None:
            write_from_every_process()
        if self._peers.process_count > 1:
            heartbeat = duration_seconds(recovery.heartbeat_timeout)
            join(
                self._environment,
                recovery,
                met=lambda links: self._monitor.connect(links, hub=self._peers.first, heartbeat_timeout=heartbeat),
            )
        return self._peers

    def beat(self, phase: Phase, step: int) -> None:
        """A sign of life from the loop: what it is at, and the steps trained. It costs next to nothing.

        In training a step that does not end within `recovery.hangAfter` ends the process; in the other phases
        every call counts, and more time is allowed (see `watchdog`).
        """
        self._monitor.beat(phase, step)

    def trained(self, step: int, loss: float, times: StepTimes | None = None) -> None:
        """A sign of life from training: the steps trained, the last one's loss in nats per token, and what it took."""
        self._monitor.trained(step, loss, times)

    @property
    def slowest_process(self) -> SlowestProcess | None:
        """In process 0 of several: the process that the others wait for, where that is known."""
        return self._monitor.slowest

    def tells_time_by(self, progress: Callable[[], Progress]) -> None:
        """The termination message will say how long each phase took, as this tells."""
        self._monitor.tells_time_by(progress)

    def started_from(self, step: int) -> None:
        """Says what the attempt begins with: the steps of the checkpoint that was restored, 0 without one."""
        self._monitor.started_from(step)

    def committed(self, checkpoint: str, step: int) -> None:
        """Names the last committed checkpoint and the steps trained at it. May be called from any thread."""
        self._monitor.committed(checkpoint, step)

    def begun(self) -> None:
        """Says that there is something to save: until now SIGTERM ended the process at once, wherever it was.

        All processes must call it at the same place, before anything is reported of the first step.
        """
        self._monitor.agreement.begin()

    def should_stop(self) -> bool:
        """Whether to save and stop now: True at the same call in all processes once any of them got SIGTERM.

        All processes must call it at the same places in the same order: at every step's end, and between the
        batches of an evaluation. It costs a lock; only after a SIGTERM does it wait, for one round trip.
        """
        return self._monitor.agreement.should_stop()

    @property
    def stop_requested(self) -> bool:
        """Whether a stop is under way. For decisions of this process alone; `should_stop` is the agreed
        one."""
        return self._monitor.agreement.requested

    def saved(self) -> None:
        """Says that the block ends because of SIGTERM, with its state saved: exit code SAVED."""
        self._saved = True

    def stop_because(self, error: TrainerError) -> None:
        """Makes all processes save and stop, as after SIGTERM, where one of them cannot go on: it ends with `error`,
        and what was trained is not lost."""
        if self._broken is None:
            self._broken = error
            log.error("%s", error)
            os.kill(os.getpid(), signal.SIGTERM)

    def remark(self, sentence: str) -> None:
        """What else is to be known of a run that ends well; the last remark counts."""
        self._remark = f" {sentence}"

    def stale(self) -> str | None:
        """Why the loop counts as not alive, or None. For /healthz."""
        return self._monitor.stale()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        several = self._peers.process_count > 1
        outcome, details = self._outcome_of(error)
        if error is None:
            self._monitor.complete()
        elif outcome.exit_code in (ExitCode.ERROR, ExitCode.LOST_PEER) and several:
            # A collective fails when a peer is gone. The watching thread hears which one it is, and leaves.
            self._termination.wait(LOSS_FOLLOWS)
        if not self._termination.decide(outcome, details=details):
            threading.Event().wait()  # the watching thread is leaving, with its own outcome
        if error is not None:
            self._monitor.tell_peers(outcome)
        elif jax.distributed.is_initialized():
            _disconnect_jax()
        self._monitor.stop(ends_process=self._ends_process)
        return True

    def _outcome_of(self, error: BaseException | None) -> tuple[TerminationMessage, str]:
        """How the block ended, and details for the log."""
        make = self._monitor.outcome
        match error:
            case None if self._broken is not None:
                return make(
                    self._broken.exit_code, f"{self._broken} The step was finished and its state saved.{self._remark}"
                ), ""
            case None if self._saved:
                return make(
                    ExitCode.SAVED, f"SIGTERM arrived; the step was finished and its state saved.{self._remark}"
                ), ""
            case None:
                return make(ExitCode.DONE, f"{self._done}{self._remark}"), ""
            case TrainerError() if self._broken is not None:
                return make(self._broken.exit_code, f"{self._broken} {error}"), ""
            case LostPeerError():
                return make(error.exit_code, str(error), error.process), ""
            case TrainerError():
                return make(error.exit_code, str(error)), ""
            case JobError():
                return make(error.exit_code, str(error)), ""
            case OSError() if os_errors.is_known(error):
                return make(os_errors.exit_code(error), os_errors.explain(error)), ""
        if BROKEN_CONNECTION.search(str(error)):
            return make(ExitCode.LOST_PEER, f"The connection to a peer broke: {error}"), ""
        details = "".join(traceback.format_exception(error))
        return make(ExitCode.ERROR, f"{type(error).__name__}: {error}"), details


def _disconnect_jax() -> None:
    """Lets go of jax's coordination service together with the peers, all of which are done. What fails now is
    noted only: the outcome is decided."""
    try:
        jax.distributed.shutdown()
    except jax.errors.JaxRuntimeError as error:
        log.warning("jax.distributed did not shut down cleanly: %s", error)
