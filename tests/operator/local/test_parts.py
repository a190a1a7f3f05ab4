"""Small parts: ports, the probe, words, messages."""

import json
import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from lateen_api.progress import Phase
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator import wording
from lateen_operator.attempts import Attempt
from lateen_operator.local import messages, ports, report
from lateen_operator.local.out_of_memory import kills_so_far
from lateen_operator.local.probe import ask
from lateen_operator.process_exit import ProcessExit
from lateen_operator.verdict import classify


class TestPorts:
    def test_are_different_and_below_those_of_outgoing_connections(self):
        found = ports.free_ports(20, random.Random(0))
        assert len(set(found)) == 20
        assert all(20_000 <= port <= 32_000 for port in found)

    def test_that_are_taken_are_left_out(self):
        [port] = ports.free_ports(1, random.Random(1))
        with socket.socket() as taken:
            # As servers do: a connection of another test may linger on the port.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("", port))
            taken.listen()
            assert ports.free_ports(1, random.Random(1)) != [port]


class TestProbe:
    def answer(self, status: int, body: str):
        """What `ask` makes of a server's answer."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format, *arguments):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            answer = ask(server.server_port)
            thread.join(timeout=5)
        return answer

    def test_reads_progress(self):
        progress = self.answer(200, json.dumps({"phase": "Training", "since": 1.0, "step": 7, "of": 10}))
        assert progress is not None
        assert (progress.phase, progress.step, progress.of) == (Phase.TRAINING, 7, 10)

    @pytest.mark.parametrize(("status", "body"), [(500, "{}"), (200, "no JSON"), (200, '{"phase": "Dreaming"}')])
    def test_takes_anything_else_for_no_answer(self, status, body):
        assert self.answer(status, body) is None

    def test_takes_a_closed_port_for_no_answer(self):
        assert ask(ports.free_ports(1, random.Random(2))[0]) is None


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (356_400, "4 d 3 h")],
    )
    def test_durations(self, seconds, text):
        assert wording.duration(seconds) == text

    @pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (754, "12:34"), (3723, "1:02:03")])
    def test_clock(self, seconds, text):
        assert wording.clock(seconds) == text

    @pytest.mark.parametrize(("number", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
    def test_sizes(self, number, text):
        assert wording.size(number) == text

    def test_counts(self):
        assert wording.count(1, "step") == "1 step"
        assert wording.count(2000, "step") == "2,000 steps"
        assert wording.count(2, "process", "processes") == "2 processes"

    def test_control_characters_do_not_reach_the_terminal(self):
        assert wording.printable("a\tb\x1b[2J\x07\r\nß→") == "a b·[2J··\nß→"


class TestSamples:
    def test_prompts_and_how_they_are_continued_are_shown_instead_of_the_sample(self):
        samples = [{"prompt": "The sea", "text": " is \x1b[2Jwide\n"}, {"prompt": "A", "text": " b"}]
        assert report.shown_samples({"sample": "x", "samples": samples}) == "The sea is ·[2Jwide\n\nA b"

    def test_without_prompts_it_is_the_sample(self):
        assert report.shown_samples({"sample": " x\n", "samples": []}) == "x"
        assert report.shown_samples({"sample": None, "samples": []}) == ""


def ended(code: int, *, step: int | None = None, checkpoint_step: int | None = None, message: str = "") -> Attempt:
    end = ProcessExit(0, code, at=1.0, termination=TerminationMessage(ExitCode(code), message) if message else None)
    return Attempt(
        1, 1, 0.0, ended_at=1.0, verdict=classify([end]), first_step=0, step=step, checkpoint_step=checkpoint_step
    )


class TestMessages:
    def test_a_restart_names_cause_and_step(self):
        assert messages.between_attempts(ended(-9, step=120, checkpoint_step=100)) == (
            "process 0 was killed by SIGKILL at step 120; attempt 2 follows"
        )
        assert messages.between_attempts(ended(-11)) == (
            "process 0 crashed by SIGSEGV before its first step; attempt 2 follows"
        )

    def test_where_an_attempt_starts_is_what_it_restored_and_not_what_was_expected(self):
        assert messages.started_from(2, 0, None) == "attempt 2 starts from the beginning"
        assert messages.started_from(2, 40, 20) == "attempt 2 starts from the checkpoint of step 40"
        assert messages.started_from(2, 20, 1040) == (
            "attempt 2 starts from the checkpoint of step 20: that of step 1,040 cannot be restored (its log says why)"
        )

    def test_what_a_process_said_stands_apart_from_the_step(self):
        assert messages.between_attempts(ended(1, step=3, message="ValueError: x")) == (
            "process 0 ended with exit code 1 (unexpected error): ValueError: x (at step 3); attempt 2 follows"
        )

    def test_a_stop_that_could_not_save_says_what_is_lost(self):
        assert report.stopped_text([ended(47, step=120, checkpoint_step=100)], "lateen run job.yaml") == (
            "stopped at step 120, not saved; 20 steps after the last checkpoint are lost\n"
            "to go on from the checkpoint of step 100:  lateen run job.yaml"
        )

    def test_a_stop_before_the_first_step(self):
        assert report.stopped_text([ended(-15)], "lateen run job.yaml") == (
            "stopped before a step was trained\nto start:  lateen run job.yaml"
        )

    def test_a_stop_right_after_a_restart_keeps_what_there_was(self):
        assert report.stopped_text([ended(-15, checkpoint_step=100)], "lateen run job.yaml") == (
            "stopped before a step was trained\nto go on from the checkpoint of step 100:  lateen run job.yaml"
        )


def test_the_end_of_a_log_is_short_and_printable(tmp_path: Path):
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[31mline\xff\n" * 5000 + b"last")
    tail = report.log_tail(log)
    assert (len(tail), tail[-2:]) == (12, ["·[31mline�", "last"])
    assert report.log_tail(tmp_path / "none") == []


def test_kills_for_want_of_memory_are_counted_by_the_kernel(tmp_path: Path):
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 12\noom_kill 3\noom_kill_other 9\n")
    assert kills_so_far(counters) == 3
    counters.write_text("pgfault 12\n")
    assert kills_so_far(counters) is None
    assert kills_so_far(tmp_path / "none") is None
