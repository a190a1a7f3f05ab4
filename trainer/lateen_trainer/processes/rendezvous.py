"""How the processes of an attempt meet: process 0 listens at the coordinator's address, the others call it.

Only when all are there does jax.distributed start, so a missing process can be named, a process of another
attempt or job is turned away with a reason, and jax's own time-outs have nothing to wait for.
"""

import logging
import selectors
import socket
import time
from dataclasses import asdict, dataclass

from lateen_api.termination import ExitCode

from lateen_trainer.errors import LostPeerError, UserError
from lateen_trainer.processes.messages import Link, Message
from lateen_trainer.processes.network import format_address

REPORT_EVERY = 30.0
RETRY_EVERY = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Meeting:
    """What all processes of an attempt must agree on."""

    attempt: int
    process_count: int
    job: str
    """Digest of the job."""


def gather(listener: socket.socket, meeting: Meeting, *, timeout: float) -> dict[int, Link]:
    """Process 0's part: waits until all others have called.

    Returns:
        a link to each other process, by its number.

    Raises:
        LostPeerError: some did not come in time, or one that had come is gone.
    """
    clock = Deadline(timeout)
    arrived: dict[int, Link] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while len(arrived) < meeting.process_count - 1:
            for key, _ in selector.select(clock.wait(RETRY_EVERY)):
                if key.fileobj is listener:
                    selector.register(Link(listener.accept()[0]), selectors.EVENT_READ)
                    continue
                link: Link = key.fileobj  # type: ignore[assignment]
                for message in link.receive():
                    _greet(link, message, meeting, arrived)
                if link.closed:
                    selector.unregister(link)
                    link.close()
            _nobody_left(arrived)
            missing = _missing(meeting, arrived)
            if missing and clock.over():
                raise LostPeerError(
                    f"{_names(missing)} did not come within {timeout:.0f} s "
                    f"({len(arrived) + 1} of {meeting.process_count} processes are here). "
                    "See why it did not start; spec.recovery.startDeadline sets the bound.",
                    process=missing[0] if len(missing) == 1 else None,
                )
            if missing and clock.report():
                log.info("Waiting for %s since %.0f s", _names(missing), clock.elapsed())
    return arrived


def reach(host: str, port: int, process: int, meeting: Meeting, *, timeout: float) -> tuple[Link, Message]:
    """The others' part: calls process 0 until it answers, and waits until all are there.

    Returns:
        the link to process 0, and its welcome.

    Raises:
        LostPeerError: process 0 did not answer in time, or ended while we waited.
        UserError: process 0 belongs to another job or attempt.
    """
    clock = Deadline(timeout)
    link = _call(host, port, clock)
    link.send("hello", process=process, **asdict(meeting))
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        while True:
            selector.select(clock.wait(RETRY_EVERY))
            for message in link.receive():
                if message["kind"] == "welcome":
                    return link, message
                if message["kind"] == "refused":
                    raise UserError(
                        f"Process 0 at {format_address(host, port)} refused this process: {message['reason']}"
                    )
                if message["kind"] == "left":
                    raise LostPeerError(
                        f"Process 0 left before all processes had met: {message['message']}",
                        process=message.get("lost") if message["code"] == ExitCode.LOST_PEER else 0,
                    )
            if link.closed:
                raise LostPeerError("Process 0 ended before all processes had met; its log says why.", process=0)
            if clock.over():
                raise LostPeerError(
                    f"Process 0 is here, but others did not come within {timeout:.0f} s; its log names them."
                )


class Deadline:
    """A bound on waiting, and the moments to say that one still waits."""

    def __init__(self, timeout: float):
        self._start = self._reported = time.monotonic()
        self._end = self._start + timeout

    def elapsed(self) -> float:
        """Seconds waited."""
        return time.monotonic() - self._start

    def over(self) -> bool:
        """Whether the bound is reached."""
        return time.monotonic() >= self._end

    def wait(self, most: float) -> float:
        """Seconds to wait next: `most`, or what is left."""
        return max(0.0, min(most, self._end - time.monotonic()))

    def report(self) -> bool:
        """Whether it is time for another line in the log."""
        if time.monotonic() - self._reported < REPORT_EVERY:
            return False
        self._reported = time.monotonic()
        return True


def _call(host: str, port: int, clock: Deadline) -> Link:
    """Connects to process 0. Its name may not resolve yet and its port may not be open yet: both are
    ordinary, since a pod's DNS record lags behind the pod (kubernetes/kubernetes#117819)."""
    while True:
        try:
            return Link(socket.create_connection((host, port), timeout=max(1.0, clock.wait(10.0))))
        except socket.gaierror:
            reason = f"the name {host!r} does not resolve"
        except OSError as error:
            reason = f"{format_address(host, port)} does not answer ({error.strerror or error})"
        if clock.over():
            raise LostPeerError(
                f"LATEEN_COORDINATOR: {reason} after {clock.elapsed():.0f} s. Process 0 listens there; see "
                "whether it runs, and whether a network policy or the cluster's DNS keeps others from it.",
                process=0,
            )
        if clock.report():
            log.info("Waiting for process 0 since %.0f s: %s", clock.elapsed(), reason)
        time.sleep(clock.wait(RETRY_EVERY))


def _greet(link: Link, message: Message, meeting: Meeting, arrived: dict[int, Link]) -> None:
    """Lets the sender of a hello join, or turns it away."""
    if message["kind"] != "hello":
        return
    if (refusal := _refuse(message, meeting, arrived)) is not None:
        log.warning("Turned a process away: %s", refusal)
        link.send("refused", reason=refusal)
        link.closed = True
        return
    arrived[message["process"]] = link


def _refuse(hello: Message, meeting: Meeting, arrived: dict[int, Link]) -> str | None:
    """Why a process may not join, or None."""
    for field, here in asdict(meeting).items():
        if hello.get(field) != here:
            return f"its {field.replace('_', ' ')} is {hello.get(field)!r}, process 0 has {here!r}"
    process = hello.get("process")
    if not isinstance(process, int) or not 0 < process < meeting.process_count:
        return f"its number is {process!r}, expected 1 to {meeting.process_count - 1}"
    if process in arrived:
        return f"there is a process {process} already"
    return None


def _missing(meeting: Meeting, arrived: dict[int, Link]) -> list[int]:
    return [process for process in range(1, meeting.process_count) if process not in arrived]


def _nobody_left(arrived: dict[int, Link]) -> None:
    for process, link in arrived.items():
        if link.closed:
            raise LostPeerError(
                f"Process {process} ended before all processes had met; its log says why.", process=process
            )


def _names(processes: list[int]) -> str:
    shown = ", ".join(map(str, processes[:8])) + (", …" if len(processes) > 8 else "")
    return f"Process {shown}" if len(processes) == 1 else f"Processes {shown}"
