"""How processes meet, in threads over loopback."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from lateen_trainer.errors import LostPeerError, UserError
from lateen_trainer.processes.messages import Link
from lateen_trainer.processes.network import listen
from lateen_trainer.processes.rendezvous import Meeting, gather, reach

MEETING = Meeting(attempt=2, process_count=3, job="abc")


class Place:
    """Process 0's address, with a pool for those who go there."""

    def __enter__(self):
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.pool = ThreadPoolExecutor()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.pool.shutdown()

    def reach(self, process: int, meeting: Meeting = MEETING, *, timeout: float = 10):
        """A process that goes there, in a thread."""
        return self.pool.submit(reach, "127.0.0.1", self.port, process, meeting, timeout=timeout)

    def gather(self, timeout: float = 10) -> dict[int, Link]:
        """Process 0, in this thread."""
        return gather(self.listener, MEETING, timeout=timeout)


def test_all_meet_and_are_linked_by_number():
    with Place() as place:
        others = {process: place.reach(process) for process in (2, 1)}
        links = place.gather()
        for process, link in links.items():
            link.send("welcome", jaxPort=process)
        assert {process: other.result()[1]["jaxPort"] for process, other in others.items()} == {1: 1, 2: 2}


def test_who_is_missing_is_named():
    with Place() as place:
        place.reach(1, timeout=0.5)
        with pytest.raises(LostPeerError, match=r"^Process 2 did not come within 0 s \(2 of 3 processes") as missing:
            place.gather(timeout=0.4)
    assert missing.value.process == 2


@pytest.mark.parametrize(
    ("meeting", "process", "reason"),
    [
        (Meeting(1, 3, "abc"), 1, "its attempt is 1, process 0 has 2"),
        (Meeting(2, 4, "abc"), 1, "its process count is 4, process 0 has 3"),
        (Meeting(2, 3, "xyz"), 1, "its job is 'xyz', process 0 has 'abc'"),
        (MEETING, 3, "its number is 3, expected 1 to 2"),
    ],
)
def test_who_does_not_belong_is_turned_away(meeting: Meeting, process: int, reason: str):
    with Place() as place:
        stranger = place.reach(process, meeting)
        place.reach(2, timeout=0.5)
        with pytest.raises(LostPeerError):
            place.gather(timeout=0.5)
        with pytest.raises(UserError, match=reason):
            stranger.result()


def test_a_second_process_of_a_number_is_turned_away():
    with Place() as place:
        twins = [place.reach(1, timeout=1), place.reach(1, timeout=1)]
        with pytest.raises(LostPeerError):
            place.gather(timeout=0.5)
        errors = [twin.exception() for twin in twins]
    assert sum("there is a process 1 already" in str(error) for error in errors) == 1


def test_strangers_that_say_nothing_or_nonsense_hold_nobody_up():
    with Place() as place:
        silent = socket.create_connection(("127.0.0.1", place.port))
        scanner = socket.create_connection(("127.0.0.1", place.port))
        scanner.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        for process in (1, 2):
            place.reach(process, timeout=0.5)
        assert sorted(place.gather()) == [1, 2]
        silent.close()
        scanner.close()


def test_one_that_ends_while_others_are_awaited_is_a_loss():
    with Place() as place:
        link = Link(socket.create_connection(("127.0.0.1", place.port)))
        link.send("hello", process=1, attempt=2, process_count=3, job="abc")
        threading.Timer(0.2, link.close).start()
        with pytest.raises(LostPeerError, match="Process 1 ended before all processes had met") as lost:
            place.gather()
    assert lost.value.process == 1


def test_process_0_may_come_late():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    meeting = Meeting(attempt=1, process_count=2, job="abc")
    with ThreadPoolExecutor() as pool:
        other = pool.submit(reach, "127.0.0.1", port, 1, meeting, timeout=10)
        threading.Event().wait(0.3)
        with listen("127.0.0.1", port) as listener:
            gather(listener, meeting, timeout=10)[1].send("welcome", jaxPort=5)
        assert other.result()[1] == {"kind": "welcome", "jaxPort": 5}


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-host.invalid", "the name 'no-such-host.invalid' does not resolve"),
        ("127.0.0.1", r"127\.0\.0\.1:9 does not answer \(Connection refused\)"),
    ],
)
def test_a_process_0_that_never_comes_is_said_so(host: str, reason: str):
    with pytest.raises(LostPeerError, match=f"LATEEN_COORDINATOR: {reason} after"):
        reach(host, 9, 1, MEETING, timeout=0.6)


def test_process_0_that_ends_meanwhile_is_a_loss():
    with Place() as place:
        other = place.reach(1)
        accepted, _ = place.listener.accept()
        accepted.close()
        with pytest.raises(LostPeerError, match="Process 0 ended before all processes had met") as lost:
            other.result()
    assert lost.value.process == 0
