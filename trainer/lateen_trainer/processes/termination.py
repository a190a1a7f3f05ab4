"""The end of a process: the outcome is decided once, written down, and the process leaves."""

import contextlib
import os
import select
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from lateen_api.escaping import escaped
from lateen_api.files import replace_text
from lateen_api.masking import masked
from lateen_api.termination import MEANING, ExitCode, TerminationMessage

STDERR = 2


class Termination:
    """Decides how the process ends. Several threads may want to; the first one has its way.

    Args:
        termination_log: file for the outcome's JSON; None: no file.
    """

    def __init__(self, termination_log: str | None):
        self._termination_log = termination_log
        self._lock = threading.Lock()
        self._decided = threading.Event()
        self.outcome: TerminationMessage | None = None

    def decide(self, outcome: TerminationMessage, *, details: str = "") -> bool:
        """Writes the outcome down, unless there is one already.

        Args:
            details: for the log, before the line that sums it up (a traceback).

        Returns:
            whether this call decided it.
        """
        outcome, details = replace(outcome, message=masked(outcome.message)), masked(details)
        with self._lock:
            if self.outcome is not None:
                return False
            self.outcome = outcome
        if self._termination_log is not None:
            try:
                write_whole(Path(self._termination_log), outcome.to_json())
            except OSError as error:
                details += f"The outcome could not be written to {self._termination_log}: {error}\n"
        say(details + summary(outcome) + "\n")
        self._decided.set()
        return True

    def wait(self, timeout: float) -> TerminationMessage | None:
        """The outcome, once it is written down; None: there is none within `timeout` seconds."""
        self._decided.wait(timeout)
        return self.outcome


def summary(outcome: TerminationMessage) -> str:
    """The outcome in a line."""
    parts = [f"lateen trainer: {MEANING[outcome.exit_code]} (exit code {int(outcome.exit_code)})"]
    if outcome.step is not None:
        parts.append(f"at step {outcome.step}")
    if outcome.checkpoint is not None:
        parts.append(f"last checkpoint {outcome.checkpoint}")
    return ", ".join(parts) + ": " + outcome.message


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader sees all of it or nothing.

    A pod's termination log is a mount point, which cannot be replaced: it is written in place. So is the one of
    `lateen run` on a full disk, over the room that was kept for it.
    """
    try:
        replace_text(path, text)
    except OSError:
        data = text.encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            # Not truncated first: on a full disk others would take the room.
            file.write(data)
            file.truncate(len(data))


def say(text: str) -> None:
    """Writes to stderr from any thread: past Python's lock on it, which a stuck main thread may hold, and
    not into a pipe that nobody reads."""
    data = escaped(text).encode()
    # A closed stderr, or a log on a full disk, must not change how the process ends.
    with contextlib.suppress(OSError):
        while data and select.select([], [STDERR], [], 1.0)[1]:
            data = data[os.write(STDERR, data[: select.PIPE_BUF]) :]


def leave(exit_code: ExitCode) -> NoReturn:
    """Ends the process now. Python's own end would wait for threads and for jax's peers, and could change
    the code."""
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(1.0)
    os._exit(exit_code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
