"""What the processes of an attempt tell each other while they run: each other process is linked with
process 0.

| message | from | means |
|---|---|---|
| beat (times) | all | I am alive; of the others, what their last steps took |
| stop (seconds) | others | I got SIGTERM and have this much grace |
| freeze (seconds) | 0 | hold your loop and tell how often it has asked |
| frozen (calls) | others | the answer |
| stop_at (calls, process) | 0 | process got SIGTERM: stop at this call of `should_stop`; 0: leave, nothing to save |
| done | others | my work is complete |
| all_done | 0 | everyone's is: connections that close from now on are no losses |
| left (code, message, lost) | all | I end, with this exit code; because process `lost` is gone, if there is one |
| lost (process, code, message, lost) | 0 | somebody else is gone |

jax.distributed has heartbeats too, but ends a process by abort() when they fail, and not before its
time-out even if a peer was killed. Here a killed process is noticed at once by its closed connection, a
frozen one by its silence.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass

from lateen_api.progress import SlowestProcess
from lateen_api.termination import MEANING, ExitCode

from lateen_trainer.processes.messages import Link, Message
from lateen_trainer.processes.preemption_sync import PreemptionSync
from lateen_trainer.processes.step_times import RecentSteps, StepTimes, slowest


@dataclass(frozen=True)
class Events:
    """What the protocol tells its process."""

    lost: Callable[[str, ExitCode | None, int | None], None]
    """A peer is gone; the sentence says which and why. It left with this exit code; None: without a word. Last comes
    the process at the beginning of it all: that peer, or the one that it had lost itself, which may be this process.
    None: nobody knows."""

    stopping: Callable[[float], None]
    """A stop is being agreed on; seconds of grace left."""

    agreed: Callable[[int], None]
    """All processes have agreed to stop, because this one got SIGTERM."""

    nothing_to_save: Callable[[], None]
    """The stop came before any loop had begun."""

    all_done: Callable[[], None]
    """All processes have completed their work."""


class PeerProtocol:
    """One process's side of the protocol: process 0 is the hub, the others are its spokes. Used by one thread only.

    Args:
        links: to each other process (process 0), or to process 0 (the others), by process number.
        hub: whether this is process 0.
        heartbeat_timeout: seconds of silence after which a process is lost.
        agreement: the loop's part in stopping.
        steps: the last steps of this process.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self, links: Mapping[int, Link], *, hub: bool, heartbeat_timeout: float, agreement: PreemptionSync,
        steps: RecentSteps, events: Events, now: float,
    ):  # fmt: skip
        self.links = dict(links)
        self._hub = hub
        self._timeout = heartbeat_timeout
        self._agreement = agreement
        self._steps = steps
        self._times: dict[int, StepTimes] = {}
        self._events = events
        self._heard = dict.fromkeys(self.links, now)
        self._beaten = -math.inf
        self._calls: dict[int, int] | None = None  # answers to freeze, by process; None: no stop is under way
        self._signalled = 0  # process because of which they stop
        self._done: set[int] = set()
        self._over = False
        self.slowest: SlowestProcess | None = None
        """Process 0: the process that the others wait for, as of its last beat."""

    @property
    def beat_interval(self) -> float:
        """Seconds between two beats: ten may go missing."""
        return self._timeout / 10

    def tick(self, now: float) -> None:
        """Sends a beat if one is due, and looks for silent peers. Call it at least every `beat_interval`."""
        if now - self._beaten >= self.beat_interval:
            self._beaten = now
            self._beat()
        for process, heard in self._heard.items():
            if now - heard > self._timeout:
                self._lose(process, f"has been silent for {now - heard:.0f} s", process)
                return

    def _beat(self) -> None:
        own = self._steps.mean()
        if not self._hub:
            self._broadcast("beat", times=None if own is None else astuple(own))
            return
        self._broadcast("beat")
        if own is not None:
            self._times[0] = own
            self.slowest = slowest(self._times)

    def forgive(self, now: float) -> None:
        """Restarts all peers' time-outs: after this process itself was asleep (Ctrl-Z, a paused virtual
        machine), nobody's silence means anything."""
        self._heard = dict.fromkeys(self.links, now)

    def read(self, process: int, now: float) -> None:
        """Handles what has arrived from a process."""
        link = self.links[process]
        for message in link.receive():
            self._heard[process] = now
            self._handle(process, message)
        if link.closed:
            self._lose(process, "is gone: its connection closed", process)

    def request_stop(self, seconds: float) -> None:
        """This process got SIGTERM, `seconds` before it is killed."""
        if self._hub:
            self._stop_all(seconds, signalled=0)
        else:
            self._broadcast("stop", seconds=seconds)

    def _stop_all(self, seconds: float, signalled: int) -> None:
        """Process 0: asks all how far they are. Once: who gets SIGTERM later changes nothing."""
        if self._calls is None:
            self._signalled = signalled
            self._calls = {0: self._agreement.freeze()}
            self._broadcast("freeze", seconds=seconds)
            self._events.stopping(seconds)
            self._decide()

    def done(self) -> None:
        """This process's work is complete."""
        if self._hub:
            self._done.add(0)
            self._finish()
        else:
            self._broadcast("done")

    def leave(self, exit_code: ExitCode, message: str, lost: int | None = None) -> None:
        """This process ends before its work is complete: the others need not wait for a time-out.

        Args:
            lost: the process because of whose end this one leaves.
        """
        self._over = True
        self._broadcast("left", code=exit_code, message=message[:1000], lost=lost)

    def _handle(self, process: int, message: Message) -> None:
        match message["kind"]:
            case "beat" if message.get("times") is not None:
                self._times[process] = StepTimes(*message["times"])
            case "left":
                code = ExitCode(message["code"])
                # Who leaves because of another's end is not at the beginning of it.
                first = message.get("lost") if code is ExitCode.LOST_PEER else process
                self._lose(process, f"left ({MEANING[code]}): {message['message']}", first, code)
            case "lost":
                code = None if message["code"] is None else ExitCode(message["code"])
                self._lose(message["process"], message["message"], message["lost"], code)
            case "stop":
                self._stop_all(message["seconds"], signalled=process)
            case "freeze":
                self._broadcast("frozen", calls=self._agreement.freeze())
                self._events.stopping(message["seconds"])
            case "frozen" if self._calls is not None:
                self._calls[process] = message["calls"]
                self._decide()
            case "stop_at":
                self._stop_at(message["calls"], message["process"])
            case "done":
                self._done.add(process)
                self._finish()
            case "all_done":
                self._over = True
                self._events.all_done()

    def _decide(self) -> None:
        """Process 0: once all have answered, they stop at one call more than the most."""
        if self._calls is not None and len(self._calls) == len(self.links) + 1:
            most = max(self._calls.values())
            stop_at = most + 1 if most > 0 else 0
            self._broadcast("stop_at", calls=stop_at, process=self._signalled)
            self._stop_at(stop_at, self._signalled)

    def _stop_at(self, calls: int, signalled: int) -> None:
        self._events.agreed(signalled)
        if calls == 0:
            self._over = True
            self._events.nothing_to_save()
        else:
            self._agreement.decide(calls)

    def _finish(self) -> None:
        if len(self._done) == len(self.links) + 1:
            self._over = True
            self._broadcast("all_done")
            self._events.all_done()

    def _lose(self, process: int, what: str, first: int | None, code: ExitCode | None = None) -> None:
        if self._over:
            return
        self._over = True
        if self._hub:
            self._broadcast("lost", process=process, code=code, message=what, lost=first)
        self._events.lost(f"Process {process} {what.removesuffix('.')}.", code, first)

    def _broadcast(self, kind: str, **fields: object) -> None:
        for link in self.links.values():
            link.send(kind, **fields)
