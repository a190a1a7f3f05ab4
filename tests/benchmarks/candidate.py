"""A candidate of a benchmark: a process of its own that makes one step when it is told to."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def serve(step: Callable[[], float], facts: Callable[[], Mapping[str, Any]] = dict) -> None:
    """The candidate's side: a line in, a step, a line out with its seconds and loss.

    Args:
        step: gives the loss.
        facts: asked after each step, for the same line.
    """
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = step()
        print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss, **facts()}), flush=True)


class Candidate:
    """One candidate, at rest until it is told to step.

    Args:
        name: for messages.
        command: ends in `serve`.
        environ: of the process.
        stderr: as for subprocess.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], *, stderr: int | None = None):
        self.name = name
        self.seconds: list[float] = []
        self.last: dict[str, Any] = {}
        """What it said of its last step."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=dict(environ),
            # A group of its own, with the processes that it starts.
            start_new_session=True,
        )

    def step(self, *, count: bool = True) -> None:
        """One step."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        self.last = json.loads(line)
        if count:
            self.seconds.append(self.last["seconds"])

    def turn(self) -> None:
        """Two steps, of which the second counts, as a step of a run follows another one.

        On a virtual machine the first after a pause takes longer: the host has taken freed memory back meanwhile.
        """
        self.step(count=False)
        self.step()

    def close(self) -> None:
        """Ends the process, and those that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
