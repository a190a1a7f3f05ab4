"""One trainer process: started with its contract, never outliving the supervisor."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lateen_api.termination import LONGEST_MESSAGE, TerminationMessage

from lateen_operator.local.out_of_memory import kills_so_far
from lateen_operator.process_exit import ProcessExit

_PR_SET_PDEATHSIG = 1


class TrainerProcess:
    """A child in a process group of its own, so that the terminal's Ctrl-C does not reach it.

    Args:
        number: process id within the attempt.
        command: what to run.
        environ: its whole environment.
        log: file that its stdout and stderr are appended to.
        termination_log: file that it leaves its outcome in.
        inherit: file descriptors that it keeps open.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        log: Path,
        termination_log: Path,
        inherit: Sequence[int] = (),
    ):
        self.number = number
        self.asked = False
        self._termination_log = termination_log
        self._memory_kills = kills_so_far()
        # Room for the outcome, should the disk be full by then.
        termination_log.write_bytes(b" " * LONGEST_MESSAGE)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=tuple(inherit),
                preexec_fn=_die_with_parent(),
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def end(self, now: float) -> ProcessExit | None:
        """How it ended; None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return ProcessExit(
            self.number,
            code,
            at=now,
            termination=self._termination_message(),
            reason=self._reason(code),
            asked=self.asked,
        )

    def terminate(self) -> None:
        """SIGTERM to the process alone, as a pod's first process gets it: it tells its helpers itself."""
        self.asked = True
        self._popen.terminate()

    def kill(self) -> None:
        """SIGKILL to the process and its helpers."""
        self.asked = True
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Kills it and waits until it is gone."""
        self.kill()
        self._popen.wait()

    def _reason(self, code: int) -> str | None:
        """`OOMKilled`, the name that Kubernetes has for it, when the kernel killed somebody for want of memory
        while this process lived and was killed itself."""
        before, now = self._memory_kills, kills_so_far()
        if code == -signal.SIGKILL and not self.asked and before is not None and now is not None and now > before:
            return "OOMKilled"
        return None

    def _termination_message(self) -> TerminationMessage | None:
        try:
            text = self._termination_log.read_text(encoding="utf-8")
            if not text.strip():
                self._termination_log.unlink()
                return None
            return TerminationMessage.from_json(text)
        except (FileNotFoundError, ValueError):
            # A process that was killed leaves no outcome, or half of one. Its exit code says enough.
            return None


def _die_with_parent():
    """For Linux: a function that makes the kernel kill the calling process when its parent dies, however it
    dies.

    The library is loaded here: between fork and exec as little as possible should happen.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arrange() -> None:
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)

    return arrange
