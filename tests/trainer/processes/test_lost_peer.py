"""A process that is killed or frozen, seen from those that remain."""

import re
from pathlib import Path
from signal import SIGKILL, SIGSTOP, Signals

import pytest
from lateen_api.termination import ExitCode
from trainer.processes.gang import Gang

HEARTBEAT = 3.0
PROMPTLY = 3.0
"""Seconds. On an idle machine it is under 0.2; the bound leaves room for a loaded one."""

RECOVERY = {"heartbeatTimeout": "3s", "hangAfter": "1m", "startDeadline": "1m"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "lost", "what", "within", "message"),
    [
        (3, 2, SIGKILL, PROMPTLY, r"Process 2 is gone: its connection closed\."),
        (3, 0, SIGKILL, PROMPTLY, r"Process 0 is gone: its connection closed\."),
        (2, 1, SIGSTOP, HEARTBEAT + PROMPTLY, r"Process 1 has been silent for \d s\."),
        (2, 0, SIGSTOP, HEARTBEAT + PROMPTLY, r"Process 0 has been silent for \d s\."),
    ],
    ids=["killed", "process 0 killed", "frozen", "process 0 frozen"],
)
def test_all_that_remain_leave_as_lost_peer(
    tmp_path: Path, processes: int, lost: int, what: Signals, within: float, message: str
):
    """In the middle of training, with collectives under way: each survivor ends by itself, in bounded time, with
    the code that makes the operator restart the attempt, whichever was lost. jax alone aborts them or hangs."""
    with Gang(tmp_path, processes, recovery=RECOVERY) as gang:
        gang.wait_for("step 5\n")
        gang.signal(lost, what)
        codes, seconds = gang.exits(without=[lost])
        assert set(codes.values()) == {ExitCode.LOST_PEER}
        assert seconds < within
        for survivor in codes:
            outcome = gang.outcome(survivor)
            assert re.fullmatch(message, outcome.message)
            assert outcome.lost_process == lost
            assert outcome.step is not None and outcome.step >= 5


@pytest.mark.slow
def test_a_process_that_waits_for_the_others_to_finish_notices_their_death(tmp_path: Path):
    """The end of a run is the moment when an orderly end and a loss look most alike."""
    with Gang(tmp_path, 2, recovery=RECOVERY, steps=3, linger={"0": 60}) as gang:
        gang.wait_for("step 3\n")
        gang.signal(0, SIGKILL)
        codes, seconds = gang.exits(without=[0])
        assert codes == {1: ExitCode.LOST_PEER}
        assert seconds < PROMPTLY


@pytest.mark.slow
def test_processes_that_finish_at_different_times_are_no_losses(tmp_path: Path):
    """A proxy in the environment, to which gRPC would send its connections, must not matter either."""
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    with Gang(tmp_path, 2, recovery=RECOVERY, steps=3, linger={"0": 4.5}, environ=proxy) as gang:
        codes, _ = gang.exits(timeout=60)
        assert codes == {0: ExitCode.DONE, 1: ExitCode.DONE}
        assert [gang.outcome(number).step for number in (0, 1)] == [3, 3]


@pytest.mark.slow
def test_the_one_with_an_error_keeps_its_code_and_the_others_say_why(tmp_path: Path):
    """Process 0's end takes jax's coordination service away, at which jax would abort the others."""
    with Gang(tmp_path, 2, recovery=RECOVERY, mishaps={"0@5": "bad data"}) as gang:
        codes, _ = gang.exits(timeout=60)
        assert codes == {0: ExitCode.BAD_DATA, 1: ExitCode.LOST_PEER}
        assert gang.outcome(0).message == "part-3.jsonl.gz line 17 is no JSON"
        assert gang.outcome(1).message == "Process 0 left (bad data): part-3.jsonl.gz line 17 is no JSON."
