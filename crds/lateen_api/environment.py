"""What a trainer process is told through its environment: the contract from operator to pod.

What starts a process (the operator's JobSet, the local backend) writes these variables, the trainer reads them.
The process number is computed here, so that both places number processes alike: slice first, host second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import overload

PREFIX = "LATEEN_"

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Asks glibc for memory in huge pages, for trainers that compute on CPUs; what starts one may have set it otherwise.

A step takes gigabytes from the system and gives them back, and in pages of 4 KiB faulting them in is a tenth of its
time (docs/performance.md). Nothing changes where Linux has transparent huge pages switched off.
"""


class ProcessEnvironmentError(ValueError):
    """A LATEEN_* variable is missing or has no meaning; the message names it."""


@dataclass(frozen=True)
class ProcessEnvironment:
    """Who a trainer process is."""

    job_file: str
    """JSON file of the resolved job (LATEEN_JOB_FILE)."""

    attempt: int = 1
    """Number of the attempt, from 1 (LATEEN_ATTEMPT)."""

    slices: int = 1
    """Slices of the attempt (LATEEN_SLICES)."""

    hosts_per_slice: int = 1
    """Hosts, and so processes, of a slice (LATEEN_HOSTS_PER_SLICE)."""

    slice_index: int = 0
    """This process's slice (LATEEN_SLICE_INDEX)."""

    host_index: int = 0
    """This process's host within the slice (LATEEN_HOST_INDEX)."""

    coordinator: str | None = None
    """`host:port` at which process 0 waits for the others (LATEEN_COORDINATOR). jax.distributed's own service gets a
    free port that process 0 chooses and tells the others there. None: one process."""

    metrics_port: int = 0
    """Port of /metrics, /healthz and /progress; 0: any free one, written to the log (LATEEN_METRICS_PORT)."""

    metrics_host: str = "0.0.0.0"
    """Address that they are served on: all of a pod's, loopback on a shared machine (LATEEN_METRICS_HOST)."""

    run_dir: str = "."
    """Folder for metrics.jsonl and, by default, cache and checkpoints (LATEEN_RUN_DIR)."""

    termination_log: str | None = None
    """File that gets the outcome as JSON at the end (LATEEN_TERMINATION_LOG)."""

    checkpoint_step: int | None = None
    """Step of the last checkpoint that the attempts before this one are known to have committed; None: of none
    (LATEEN_CHECKPOINT_STEP). A trainer that finds no checkpoint although there was one refuses to start at step 0."""

    @property
    def process_count(self) -> int:
        """Processes of the attempt."""
        return self.slices * self.hosts_per_slice

    @property
    def process_id(self) -> int:
        """Number of this process: slice index × hosts + host index."""
        return self.slice_index * self.hosts_per_slice + self.host_index

    def to_environ(self) -> dict[str, str]:
        """The variables that `from_environ` reads back."""
        values = {
            "JOB_FILE": self.job_file,
            "ATTEMPT": self.attempt,
            "SLICES": self.slices,
            "HOSTS_PER_SLICE": self.hosts_per_slice,
            "SLICE_INDEX": self.slice_index,
            "HOST_INDEX": self.host_index,
            "COORDINATOR": self.coordinator,
            "METRICS_PORT": self.metrics_port,
            "METRICS_HOST": self.metrics_host,
            "RUN_DIR": self.run_dir,
            "TERMINATION_LOG": self.termination_log,
            "CHECKPOINT_STEP": self.checkpoint_step,
        }
        return {PREFIX + name: str(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "ProcessEnvironment":
        """Reads the LATEEN_* variables.

        Raises:
            ProcessEnvironmentError: a variable is missing, not a number, or out of range.
        """
        job_file = environ.get(PREFIX + "JOB_FILE")
        if not job_file:
            raise ProcessEnvironmentError(
                "LATEEN_JOB_FILE is not set: expected the path of the job's JSON. "
                "A trainer is started by `lateen run`, by the operator, or as `lateen train job.yaml`."
            )
        slices = _integer(environ, "SLICES", default=1, least=1)
        hosts_per_slice = _integer(environ, "HOSTS_PER_SLICE", default=1, least=1)
        environment = cls(
            job_file=job_file,
            attempt=_integer(environ, "ATTEMPT", default=1, least=1),
            slices=slices,
            hosts_per_slice=hosts_per_slice,
            slice_index=_integer(environ, "SLICE_INDEX", default=0, least=0, below=slices),
            host_index=_integer(environ, "HOST_INDEX", default=0, least=0, below=hosts_per_slice),
            coordinator=environ.get(PREFIX + "COORDINATOR"),
            metrics_port=_integer(environ, "METRICS_PORT", default=0, least=0, below=65536),
            metrics_host=environ.get(PREFIX + "METRICS_HOST", "0.0.0.0"),
            run_dir=environ.get(PREFIX + "RUN_DIR", "."),
            termination_log=environ.get(PREFIX + "TERMINATION_LOG"),
            checkpoint_step=_integer(environ, "CHECKPOINT_STEP", default=None, least=0),
        )
        if environment.process_count > 1 and not environment.coordinator:
            raise ProcessEnvironmentError(
                f"LATEEN_COORDINATOR is not set, but the attempt has {environment.process_count} processes: "
                "expected host:port of process 0."
            )
        return environment


@overload
def _integer(environ: Mapping[str, str], name: str, *, default: int, least: int, below: int | None = None) -> int: ...
@overload
def _integer(
    environ: Mapping[str, str], name: str, *, default: None, least: int, below: int | None = None
) -> int | None: ...
def _integer(
    environ: Mapping[str, str], name: str, *, default: int | None, least: int, below: int | None = None
) -> int | None:
    text = environ.get(PREFIX + name)
    if text is None:
        return default
    expected = f"a whole number from {least}" + (f" to {below - 1}" if below is not None else "")
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (below is not None and value >= below):
        raise ProcessEnvironmentError(f"{PREFIX}{name} is {text!r}: expected {expected}.")
    return value
