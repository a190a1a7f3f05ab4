"""Several real trainer processes on loopback, and what becomes of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from lateen_api.environment import ProcessEnvironment
from lateen_api.termination import TerminationMessage

WORKER = Path(__file__).with_name("worker.py")


class Gang:
    """Workers of one attempt. All of them are killed, by their ids, when the block ends.

    Args:
        folder: for logs, termination messages and what the workers save.
        processes: how many.
        environ: more variables.
        absent: workers that are never started.
        plan: see `worker`.
    """

    def __init__(
        self,
        folder: Path,
        processes: int,
        *,
        environ: dict[str, str] | None = None,
        absent: Iterable[int] = (),
        **plan: object,
    ):
        self.folder = folder
        (folder / "job.json").write_text("{}")
        self._port = free_port()
        self._count = processes
        self._environ = {
            "PATH": os.environ["PATH"],
            "LATEEN_COMPILATION_CACHE": str(folder / "xla"),
            "WORKER_PLAN": json.dumps({"devices": 1, "steps": 100_000, "step_seconds": 0.02, **plan}),
            **(environ or {}),
        }
        present = [number for number in range(processes) if number not in set(absent)]
        self._processes = {number: self._start(number) for number in present}

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        environment = ProcessEnvironment(
            job_file=str(self.folder / "job.json"),
            hosts_per_slice=self._count,
            host_index=number,
            coordinator=f"127.0.0.1:{self._port}" if self._count > 1 else None,
            run_dir=str(self.folder),
            termination_log=str(self.folder / f"outcome-{number}"),
        )
        with (self.folder / f"log-{number}").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, str(WORKER)],
                env={**self._environ, **environment.to_environ()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self, number: int) -> str:
        """What a worker has printed so far."""
        return (self.folder / f"log-{number}").read_text(errors="replace")

    def wait_for(self, text: str, *, processes: Iterable[int] | None = None, timeout: float = 60) -> None:
        """Waits until workers have printed something."""
        numbers = list(self._processes if processes is None else processes)
        end = time.monotonic() + timeout
        while not all(text in self.log(number) for number in numbers):
            ended = [number for number in numbers if self._processes[number].poll() is not None]
            assert time.monotonic() < end and not ended, "\n".join(self.log(number) for number in numbers)
            time.sleep(0.05)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Sends a signal to one worker."""
        self._processes[number].send_signal(what)

    def exits(self, *, without: Iterable[int] = (), timeout: float = 30) -> tuple[dict[int, int], float]:
        """Waits until workers have ended.

        Returns:
            their exit codes by number, and the seconds until the last one ended.
        """
        start = time.monotonic()
        numbers = [number for number in self._processes if number not in set(without)]
        while any(self._processes[number].poll() is None for number in numbers):
            logs = "\n".join(f"--- {number}\n{self.log(number)[-2000:]}" for number in numbers)
            assert time.monotonic() - start < timeout, f"still there after {timeout} s\n{logs}"
            time.sleep(0.01)
        return {n: self._processes[n].returncode for n in numbers}, time.monotonic() - start

    def outcome(self, number: int) -> TerminationMessage:
        """The termination message of a worker."""
        return TerminationMessage.from_json((self.folder / f"outcome-{number}").read_text())


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
