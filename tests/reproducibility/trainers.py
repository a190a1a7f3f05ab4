"""The processes of an attempt: started, watched, stopped and killed, each by itself.

They are forked from a process that has imported the trainer, since imports would be most of a short run's time. From
there on each is what `lateen train` is: its own devices, threads, connections and end.
"""

import contextlib
import functools
import logging
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from lateen_api.environment import ProcessEnvironment
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.local.ports import free_ports

POLL = 0.002
"""Seconds between two looks at what the trainers have written."""

END_WITHIN = 900
"""Seconds that an attempt may take. Programs may have to be compiled, on a machine with other work."""


@dataclass(frozen=True)
class Attempt:
    """Trainer processes at work."""

    processes: list[BaseProcess]
    folder: Path
    number: int

    def signal(self, what: signal.Signals, process: int | None = None) -> None:
        """Sends a signal to a process, or to all of them, if they are still there."""
        for one in self.processes if process is None else [self.processes[process]]:
            if one.pid is not None and one.is_alive():
                os.kill(one.pid, what)

    def check_alive(self, deadline: float) -> None:
        """Raises AssertionError, with the logs, if a process has ended or the deadline is past."""
        late = time.monotonic() > deadline
        ended = [number for number, one in enumerate(self.processes) if not one.is_alive()]
        assert not ended and not late, f"{'too late' if late else f'{ended} have ended'}:\n{self.logs()}"

    def exit_codes(self) -> list[int]:
        """Waits for the end of all; a signal's number is negative."""
        deadline = time.monotonic() + END_WITHIN
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        assert None not in codes, f"not ended after {END_WITHIN} s:\n{self.logs()}"
        return [code for code in codes if code is not None]

    def outcome(self) -> TerminationMessage:
        """The termination message of process 0."""
        return TerminationMessage.from_json(_termination_log(self.folder, self.number, 0).read_text())

    def logs(self) -> str:
        """The end of what each has printed."""
        texts = [_log(self.folder, self.number, i).read_text(errors="replace") for i in range(len(self.processes))]
        return "\n".join(f"--- process {i}\n{text[-3000:]}" for i, text in enumerate(texts))


@contextlib.contextmanager
def attempt(job_file: Path, folder: Path, number: int, processes: int, programs: Path) -> Iterator[Attempt]:
    """Starts the processes of an attempt; those that are still there at the end of the block are killed.

    Args:
        job_file: the job, planned for so many processes.
        folder: of the run.
        number: of the attempt, from 1.
        processes: how many.
        programs: folder of compiled programs, for all runs.
    """
    coordinator = f"127.0.0.1:{free_ports(1, random.Random())[0]}" if processes > 1 else None
    started: list[BaseProcess] = []
    try:
        for host in range(processes):
            environment = ProcessEnvironment(
                job_file=str(job_file),
                attempt=number,
                hosts_per_slice=processes,
                host_index=host,
                coordinator=coordinator,
                metrics_host="127.0.0.1",
                run_dir=str(folder),
                termination_log=str(_termination_log(folder, number, host)),
            )
            log = str(_log(folder, number, host))
            variables = {"LATEEN_COMPILATION_CACHE": str(programs), "JAX_PLATFORMS": "cpu"}
            process = _server().Process(target=_train, args=(environment, variables, log), daemon=True)
            process.start()
            started.append(process)
        yield Attempt(started, folder, number)
    finally:
        for process in started:
            process.kill()
            process.join()


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lateen_trainer.cli", "lateen_trainer.train", "lateen_trainer.report.reporter"])
    return context


def _train(environment: ProcessEnvironment, variables: Mapping[str, str], log: str) -> None:
    """A trainer process, as `lateen train` is one."""
    from lateen_trainer.cli import run_process
    from lateen_trainer.processes import leave

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(variables)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    leave(run_process(environment))


def _log(folder: Path, number: int, host: int) -> Path:
    return folder / f"log-{number}-{host}"


def _termination_log(folder: Path, number: int, host: int) -> Path:
    return folder / f"outcome-{number}-{host}"


def meaning(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else ExitCode(code).name
