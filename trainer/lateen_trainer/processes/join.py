"""How a process becomes one of the processes of an attempt: it meets them, and jax learns of them."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
from lateen_api.environment import ProcessEnvironment
from lateen_api.spec import RecoverySpec
from lateen_api.spec.section import duration_seconds

from lateen_trainer.processes.messages import Link
from lateen_trainer.processes.network import (
    bypass_proxies,
    format_address,
    is_loopback,
    listen,
    parse_address,
    reserve_port,
)
from lateen_trainer.processes.rendezvous import Meeting, gather, reach

log = logging.getLogger(__name__)

INITIALIZATION_TIMEOUT = 120
"""Seconds for jax.distributed to connect processes that are all there."""

SHUTDOWN_TIMEOUT = 5
"""Seconds for jax.distributed to disconnect them, once all have said that they are done."""


@dataclass(frozen=True)
class Peers:
    """The processes of an attempt."""

    process_id: int
    process_count: int

    @property
    def first(self) -> bool:
        """Whether this is process 0, which writes what is written once."""
        return self.process_id == 0


def join(environment: ProcessEnvironment, recovery: RecoverySpec, *, met: Callable[[Mapping[int, Link]], None]) -> None:
    """Meets the other processes of an attempt of several, and starts jax.distributed.

    The coordinator's address is where the processes meet. jax's coordination service gets a free port of
    process 0's choice.

    Args:
        met: called with the links to the others as soon as all are there, before jax connects.

    Raises:
        LostPeerError: not all processes came within `recovery.startDeadline`, or one left meanwhile.
        UserError: the coordinator's port is taken, or process 0 belongs to another job.
    """
    assert environment.coordinator is not None, "ProcessEnvironment.from_environ sees to it"
    host, port = parse_address(environment.coordinator)
    bypass_proxies(os.environ, host)
    timeout = duration_seconds(recovery.start_deadline)
    heartbeat = duration_seconds(recovery.heartbeat_timeout)
    meeting = Meeting(environment.attempt, environment.process_count, _digest(environment.job_file))
    if environment.process_id != 0:
        link, welcome = reach(host, port, environment.process_id, meeting, timeout=timeout)
        met({0: link})
        _initialize(environment, host, welcome["jaxPort"], heartbeat)
        return
    log.info("Meeting %d other processes at %s", environment.process_count - 1, environment.coordinator)
    with listen(host, port) as listener:
        links = gather(listener, meeting, timeout=timeout)
    with reserve_port(host) as holder:
        jax_port = holder.getsockname()[1]
        met(links)
        for link in links.values():
            link.send("welcome", jaxPort=jax_port)
        _initialize(environment, host, jax_port, heartbeat)


def _initialize(environment: ProcessEnvironment, host: str, port: int, heartbeat: float) -> None:
    jax.distributed.initialize(
        format_address(host, port),
        environment.process_count,
        environment.process_id,
        cluster_detection_method="deactivate",
        coordinator_bind_address=format_address(host, port) if is_loopback(host) else None,
        initialization_timeout=INITIALIZATION_TIMEOUT,
        # Later than our own, which says why the process ends; jax's would abort it.
        heartbeat_timeout_seconds=int(2 * heartbeat) + 10,
        shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
    )


def _digest(job_file: str) -> str:
    path = Path(job_file)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "unknown"
