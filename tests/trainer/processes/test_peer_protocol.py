"""What processes tell each other: real sockets, a clock set by hand."""

import socket
from dataclasses import dataclass, field

import pytest
from lateen_api.progress import SlowestProcess
from lateen_api.termination import ExitCode
from lateen_trainer.processes.messages import Link
from lateen_trainer.processes.peer_protocol import Events, PeerProtocol
from lateen_trainer.processes.preemption_sync import PreemptionSync
from lateen_trainer.processes.step_times import RecentSteps, StepTimes

TIMEOUT = 30.0


@dataclass
class Member:
    """A process of the star, and what it was told."""

    links: dict[int, Link]
    hub: bool
    agreement: PreemptionSync = field(default_factory=PreemptionSync)
    steps: RecentSteps = field(default_factory=RecentSteps)
    lost: list[tuple[str, ExitCode | None, int | None]] = field(default_factory=list)
    stopping: list[float] = field(default_factory=list)
    agreed: list[int] = field(default_factory=list)
    left_at_once: bool = False
    all_done: bool = False

    def __post_init__(self):
        events = Events(
            lost=lambda *told: self.lost.append(told),
            stopping=self.stopping.append,
            agreed=self.agreed.append,
            nothing_to_save=lambda: setattr(self, "left_at_once", True),
            all_done=lambda: setattr(self, "all_done", True),
        )
        self.star = PeerProtocol(
            self.links, hub=self.hub, heartbeat_timeout=TIMEOUT, agreement=self.agreement, steps=self.steps,
            events=events, now=0.0,
        )  # fmt: skip

    def read(self, now: float = 0.0) -> None:
        """Reads from all that are linked."""
        for process in self.links:
            self.star.read(process, now)


def gang(count: int) -> list[Member]:
    """Linked processes; number 0 is the hub."""
    pairs = {process: socket.socketpair() for process in range(1, count)}
    hub = Member({process: Link(ends[0]) for process, ends in pairs.items()}, hub=True)
    return [hub, *(Member({0: Link(ends[1])}, hub=False) for ends in pairs.values())]


def exchange(members: list[Member], now: float = 0.0) -> None:
    """Reads until nobody has anything more to say: a question and its answer go over the hub."""
    for _ in range(4):
        for member in members:
            member.read(now)


def test_beats_keep_everyone_alive():
    members = gang(3)
    for now in range(0, 100, 3):
        for member in members:
            member.star.tick(now)
        exchange(members, now)
    assert [member.lost for member in members] == [[], [], []]


def test_process_0_learns_from_beats_which_process_is_the_slowest():
    members = gang(3)
    for member, idle in zip(members, (0.01, 0.03, 0.8), strict=True):
        member.steps.add(StepTimes(step=1.0, idle=idle, data_wait=idle / 2))
    for now in (0.0, 3.0):
        for member in members:
            member.star.tick(now)
        exchange(members, now)
    found = members[0].star.slowest
    assert found == SlowestProcess(
        process=2, idle_seconds=0.8, data_wait_seconds=0.4, others_idle_seconds=0.02, step_seconds=1.0
    )
    assert [member.star.slowest for member in members[1:]] == [None, None]


def test_before_the_first_step_no_process_is_the_slowest():
    members = gang(2)
    for now in (0.0, 3.0):
        for member in members:
            member.star.tick(now)
        exchange(members, now)
    assert members[0].star.slowest is None


def test_the_silence_of_one_is_a_loss_for_all():
    members = gang(3)
    for now in (10.0, 20.0, 31.0):
        for member in members[:2]:
            member.star.tick(now)
        exchange(members[:2], now)
    told = [("Process 2 has been silent for 31 s.", None, 2)]
    assert [member.lost for member in members[:2]] == [told, told]


def test_the_silence_of_process_0_is_a_loss_for_each():
    members = gang(3)
    for member in members[1:]:
        member.star.tick(31.0)
    told = [("Process 0 has been silent for 31 s.", None, 0)]
    assert [member.lost for member in members[1:]] == [told, told]


def test_a_closed_connection_is_a_loss_at_once():
    members = gang(3)
    members[1].links[0].close()
    exchange([members[0], members[2]])
    told = [("Process 1 is gone: its connection closed.", None, 1)]
    assert members[0].lost == told
    assert members[2].lost == told


def test_who_leaves_says_why():
    members = gang(3)
    members[1].star.leave(ExitCode.BAD_DATA, "part 3 is no JSON.")
    exchange(members)
    told = [("Process 1 left (bad data): part 3 is no JSON.", ExitCode.BAD_DATA, 1)]
    assert members[0].lost == told
    assert members[2].lost == told
    assert members[1].lost == []


def test_a_process_0_that_was_frozen_learns_that_it_was_the_one():
    members = gang(3)
    members[1].star.tick(31.0)
    members[1].star.leave(ExitCode.LOST_PEER, members[1].lost[0][0], members[1].lost[0][2])
    exchange([members[0], members[2]])
    said = "Process 1 left (lost a peer): Process 0 has been silent for 31 s."
    assert members[0].lost == members[2].lost == [(said, ExitCode.LOST_PEER, 0)]


def test_a_process_that_was_frozen_learns_that_it_was_the_one():
    members = gang(2)
    members[0].star.tick(31.0)
    members[1].star.forgive(60.0)
    members[1].read(60.0)
    assert members[1].lost == [("Process 1 has been silent for 31 s.", None, 1)]


def test_one_that_lost_a_peer_it_cannot_name_is_not_the_one():
    members = gang(2)
    members[1].star.leave(ExitCode.LOST_PEER, "The connection to a peer broke.")
    exchange(members)
    assert members[0].lost == [
        ("Process 1 left (lost a peer): The connection to a peer broke.", ExitCode.LOST_PEER, None)
    ]


def test_a_loss_is_told_once():
    members = gang(3)
    members[1].links[0].close()
    members[2].links[0].close()
    exchange(members[:1])
    members[0].star.tick(1000.0)
    assert len(members[0].lost) == 1


def test_after_sleep_nobody_is_blamed():
    members = gang(2)
    members[0].star.forgive(1000.0)
    members[0].star.tick(1000.0)
    assert members[0].lost == []


@pytest.mark.parametrize("signalled", [0, 1, 2])
def test_a_stop_is_one_call_after_the_furthest(signalled: int):
    members = gang(3)
    for member, calls in zip(members, (4, 6, 5), strict=True):
        for _ in range(calls):
            member.agreement.should_stop()
    members[signalled].star.request_stop(15.0)
    exchange(members)
    remaining = [[member.agreement.should_stop() for _ in range(3)] for member in members]
    assert remaining == [[False, False, True], [True, True, True], [False, True, True]]
    assert [member.agreed for member in members] == [[signalled]] * 3


def test_everyone_knows_the_grace_that_is_left():
    members = gang(3)
    members[2].star.request_stop(12.0)
    exchange(members)
    assert [member.stopping for member in members] == [[12.0], [12.0], [12.0]]


def test_several_requests_are_one_stop():
    members = gang(3)
    for member in members:
        member.agreement.should_stop()
        member.star.request_stop(15.0)
    exchange(members)
    assert [member.agreement.should_stop() for member in members] == [True, True, True]
    assert [member.agreed for member in members] == [[0], [0], [0]]


def test_who_cannot_reach_all_others_has_agreed_on_nothing():
    """The signal may follow from the end of the one that does not answer."""
    members = gang(3)
    members[1].star.request_stop(15.0)
    exchange(members[:2])
    assert [member.agreed for member in members] == [[], [], []]


def test_before_any_loop_has_begun_all_leave_at_once():
    members = gang(3)
    members[1].star.request_stop(15.0)
    exchange(members)
    assert [member.left_at_once for member in members] == [True, True, True]


def test_a_lone_process_decides_alone():
    (member,) = gang(1)
    member.agreement.should_stop()
    member.star.request_stop(15.0)
    assert member.agreement.should_stop()


def test_all_are_done_when_the_last_one_is():
    members = gang(3)
    members[1].star.done()
    members[0].star.done()
    exchange(members)
    assert [member.all_done for member in members] == [False, False, False]
    members[2].star.done()
    exchange(members)
    assert [member.all_done for member in members] == [True, True, True]


def test_connections_that_close_after_the_end_are_no_losses():
    members = gang(2)
    for member in members:
        member.star.done()
    exchange(members)
    members[0].links[1].close()
    members[1].read()
    assert members[1].lost == []


def test_one_that_dies_while_it_waits_for_the_others_is_lost():
    members = gang(2)
    members[1].star.done()
    exchange(members)
    members[1].links[0].close()
    members[0].read()
    assert members[0].lost == [("Process 1 is gone: its connection closed.", None, 1)]
