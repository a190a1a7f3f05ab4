"""Messages over a socket, whatever the other side does."""

import socket

from lateen_trainer.processes.messages import LONGEST_LINE, Link


def pair() -> tuple[Link, socket.socket]:
    """A link and the bare other end."""
    here, there = socket.socketpair()
    return Link(here), there


def test_messages_arrive_in_order():
    here, there = socket.socketpair()
    sender, receiver = Link(here), Link(there)
    sender.send("beat")
    sender.send("stop", seconds=15.0)
    assert receiver.receive() == [{"kind": "beat"}, {"kind": "stop", "seconds": 15.0}]


def test_a_message_in_two_pieces_is_one():
    link, there = pair()
    there.sendall(b'{"kind": "be')
    assert link.receive() == []
    there.sendall(b'at"}\n')
    assert link.receive() == [{"kind": "beat"}]


def test_what_was_sent_before_the_end_arrives():
    link, there = pair()
    there.sendall(b'{"kind": "left"}\n')
    there.close()
    assert link.receive() == [{"kind": "left"}]
    assert link.closed


def test_a_stranger_is_cut_off():
    link, there = pair()
    there.sendall(b"GET / HTTP/1.1\r\n")
    assert link.receive() == []
    assert link.closed


def test_a_line_without_end_is_cut_off():
    link, there = pair()
    there.setblocking(False)
    sent = 0
    while sent <= LONGEST_LINE:
        sent += there.send(b"x" * 4096)
        link.receive()
    assert link.closed


def test_a_frozen_reader_never_blocks_the_sender():
    link, _there = pair()
    for _ in range(100_000):
        link.send("beat")


def test_sending_to_a_closed_end_does_not_lose_what_it_had_said():
    link, there = pair()
    there.sendall(b'{"kind": "all_done"}\n')
    there.close()
    link.send("beat")
    link.send("beat")
    assert link.receive() == [{"kind": "all_done"}]
    assert link.closed
