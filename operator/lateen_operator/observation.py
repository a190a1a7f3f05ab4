"""What a decision about a job depends on, told alike by a cluster and by this machine."""

import math
from dataclasses import dataclass, field

from lateen_api.errors import JobError
from lateen_api.progress import Progress
from lateen_api.spec import RecoverySpec

from lateen_operator.attempts import Attempt
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.stragglers import SlowProcess
from lateen_operator.verdict import Verdict


@dataclass(frozen=True)
class Process:
    """One trainer process of the attempt that runs, from before it has a machine until it has ended."""

    number: int
    """Slice index × hosts of a slice + host index."""

    placed: bool = True
    """It has a machine."""

    running: bool = True
    """Its program runs."""

    end: ProcessExit | None = None
    node: str | None = None
    pod_missing: bool = False
    """It waits for its pod to be created."""

    waiting_for: str | None = None
    """Why it does not run yet, for people: `ErrImagePull: …`."""

    waiting_since: float | None = None
    """When it got its machine, while its program does not run, or since when it could have had a pod, while it has
    none: seconds since the epoch."""


@dataclass(frozen=True)
class Blocked:
    """What the API server does not let anybody do for the job."""

    reason: str
    """One word for programs: `QuotaExceeded`."""

    cause: str
    """For people: who is refused what, in the API server's own words; a sentence without capital and full stop."""

    remedy: str
    """What to do; a sentence without full stop."""

    @property
    def message(self) -> str:
        """All of it, as sentences."""
        cause = f"{self.cause[:1].upper()}{self.cause[1:]}"
        return f"{cause}. {self.remedy}. It is tried again, and the job goes on by itself."


WAITING_FOR_ADMISSION = "WaitingForAdmission"
"""Reason of the condition Queued: the queue has not admitted the job yet. That is what queues are for."""


@dataclass(frozen=True)
class Admission:
    """Why the queue that an attempt was given to has not admitted it."""

    reason: str
    """One word for programs: that of the condition Queued."""

    message: str
    """For people, with the queue's own words; sentences."""


@dataclass(frozen=True)
class Preparation:
    """Where pods of their own build the job's token caches (`spec.data.prepare`): how far they are."""

    digest: str
    """Of the job's text that they build for."""

    ready: bool = False
    """What training begins with is tokenized."""

    whole: bool = False
    """All text is tokenized."""

    failure: Verdict | None = None
    """Why they have given up."""

    message: str | None = None
    """How far they are, or what they wait for, for people."""

    started_at: float | None = None
    """When they were created; None: they are not yet."""

    ready_at: float | None = None
    """When training could begin."""


@dataclass(frozen=True)
class Target:
    """What the job asks for now."""

    recovery: RecoverySpec
    hosts: int
    host_counts: tuple[int, ...] = ()
    """Numbers of hosts that it may run on, fewest first. Empty: only `hosts`."""

    resize_after: float | None = None
    """Seconds without capacity after which it goes on with fewer hosts; None: it waits, and never resizes itself."""

    steps: int | None = None
    """Steps in all; None: whatever the trainer says is the end."""

    digest: str | None = None
    """Digest of all that an attempt is built from; None: it cannot change while the job is watched."""

    avoids_nodes: bool = True
    """Its pods can stay away from single nodes. Hosts of a TPU slice of several cannot: they stand or fall together."""

    builders: str | None = None
    """Digest of all that the builders of its token caches are made from; None: the trainers build them."""

    ttl: float | None = None
    """Seconds after its end at which the job is deleted; None: never."""


@dataclass(frozen=True)
class Observation:
    """All that a decision depends on. Times are seconds since the epoch."""

    target: Target
    attempts: tuple[Attempt, ...] = ()
    """The ledger, oldest first; the last one has no verdict while it runs."""

    forgotten: dict[FailureClass, int] = field(default_factory=dict)
    """What attempts that are no longer in the ledger have taken from each budget."""

    processes: tuple[Process, ...] = ()
    """All processes of the attempt that runs."""

    refusal: JobError | None = None
    """Why the job cannot run as it is written now. An attempt of its former text may go on."""

    blocked: Blocked | None = None
    """What the API server refuses to do for the job; it is tried again."""

    admission: Admission | None = None
    """Why the attempt's queue has not admitted it."""

    eviction: str | None = None
    """Why the attempt's queue took its machines back, in the queue's own words."""

    preparation: Preparation | None = None
    """How far its token caches are; None: the trainers build them."""

    stop_requests: int = 0
    """How often it was asked to stop: Ctrl-C here, `spec.suspend` in a cluster."""

    terminating_since: float | None = None
    """When the attempt's processes were asked to terminate."""

    killed: bool = False
    """They were killed, or will be by the platform when their time is over."""

    cause: Verdict | None = None
    """Verdict that a `Terminate` or `Kill` carried: it stands, whatever the processes' ends look like."""

    progress: Progress | None = None
    """What process 0 said last."""

    silent_since: float | None = None
    """Since when process 0 has not answered on /progress; None: it did when last asked."""

    moved_at: float | None = None
    """When what process 0 says last changed."""

    slow: SlowProcess | None = None
    """The process that the others wait for, by what process 0 said last."""

    probes_placed: int = 0
    """Hosts beyond the attempt's own that are known to be free for it."""

    created_at: float | None = None
    """When the job was created; None: when its first attempt started."""

    requeue_at: float = math.inf
    """When the observation itself changes by the passing of time alone."""

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that runs."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.verdict is None else None

    @property
    def ends(self) -> tuple[ProcessExit, ...]:
        """Ends of the processes that have ended."""
        return tuple(process.end for process in self.processes if process.end is not None)

    @property
    def alive(self) -> tuple[Process, ...]:
        """Processes that have not ended."""
        return tuple(process for process in self.processes if process.end is None)
