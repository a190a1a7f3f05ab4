"""An attempt while it runs: its processes, how they ended so far, and what process 0 says."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lateen_api.environment import PREFIX, ProcessEnvironment

from lateen_operator.attempts import Attempt
from lateen_operator.local.folder import RunFolder
from lateen_operator.local.ports import free_ports
from lateen_operator.local.probe import Probe
from lateen_operator.local.process import TrainerProcess
from lateen_operator.observation import Process
from lateen_operator.process_exit import ProcessExit
from lateen_operator.progress_history import ProgressHistory, update_from_exit, update_from_progress
from lateen_operator.verdict import Verdict


@dataclass(frozen=True)
class Launch:
    """What all attempts of a run have in common."""

    folder: RunFolder
    hosts: int
    command: Sequence[str]
    environ: Mapping[str, str]
    """Environment of the processes, without what tells them apart."""

    host_environ: Sequence[Mapping[str, str]] = ()
    """Further variables by host: its share of the GPUs. Empty: none."""

    inherit: Sequence[int] = ()
    """File descriptors that every process keeps open (the folder's lock)."""


class RunningAttempt:
    """The processes of one attempt. A constructor that fails leaves none behind."""

    def __init__(self, launch: Launch, attempt: Attempt, clock: Callable[[], float]):
        self._clock = clock
        self._attempt = attempt
        self._processes: list[TrainerProcess] = []
        self.ends: tuple[ProcessExit, ...] = ()
        self.terminating_since: float | None = None
        self.killed = False
        self.cause: Verdict | None = None
        coordinator, *metrics = free_ports(1 + launch.hosts, random.Random())
        try:
            for host in range(launch.hosts):
                self._processes.append(_start(launch, attempt, host, coordinator, metrics[host]))
        except BaseException:
            self.reap()
            raise
        self._probe = Probe(attempt.number, metrics[0], clock)

    @property
    def processes(self) -> tuple[Process, ...]:
        """All processes, those that have ended too."""
        alive = [Process(process.number) for process in self._processes]
        return (*alive, *(Process(end.process, running=False, end=end) for end in self.ends))

    @property
    def answers(self) -> ProgressHistory:
        """What process 0 has said."""
        return self._probe.answers

    @property
    def pids(self) -> dict[int, int]:
        """Process id of the machine by process number, of those that run."""
        return {process.number: process.pid for process in self._processes}

    def observe(self) -> None:
        """Takes note of processes that ended."""
        now = self._clock()
        ended = {process: end for process in self._processes if (end := process.end(now)) is not None}
        self._processes = [process for process in self._processes if process not in ended]
        self.ends += tuple(ended.values())

    def tell(self, cause: Verdict | None = None) -> None:
        """SIGTERM to all."""
        self.terminating_since = self._clock()
        self.cause = cause
        for process in self._processes:
            process.terminate()

    def kill(self, cause: Verdict | None) -> None:
        """SIGKILL to all."""
        self.killed = True
        self.cause = cause or self.cause
        for process in self._processes:
            process.kill()

    def reap(self) -> None:
        """Kills what runs and waits for it."""
        for process in self._processes:
            process.reap()
        self._processes = []

    def close(self) -> None:
        """Stops asking for progress."""
        self._probe.close()

    def record(self, verdict: Verdict | None = None) -> Attempt:
        """The ledger's entry as of now; with a verdict, for good."""
        attempt = update_from_progress(self._attempt, self.answers.progress)
        for end in self.ends:
            attempt = update_from_exit(attempt, end)
        self._attempt = attempt
        return attempt if verdict is None else replace(attempt, verdict=verdict, ended_at=self._clock())


def _start(launch: Launch, attempt: Attempt, host: int, coordinator: int, metrics_port: int) -> TrainerProcess:
    folder = launch.folder
    termination_log = folder.termination_log(attempt.number, host)
    who = ProcessEnvironment(
        job_file=str(folder.job),
        attempt=attempt.number,
        hosts_per_slice=launch.hosts,
        host_index=host,
        coordinator=f"127.0.0.1:{coordinator}" if launch.hosts > 1 else None,
        metrics_port=metrics_port,
        metrics_host="127.0.0.1",
        run_dir=str(folder.path),
        termination_log=str(termination_log),
        checkpoint_step=attempt.checkpoint_step,
    )
    own = launch.host_environ[host] if launch.host_environ else {}
    inherited = {name: value for name, value in launch.environ.items() if not name.startswith(PREFIX)}
    return TrainerProcess(
        host,
        launch.command,
        {**inherited, **own, **who.to_environ()},
        log=folder.log(attempt.number, host),
        termination_log=termination_log,
        inherit=launch.inherit,
    )
