"""SIGTERM: all processes save the same step, in time, or say that they did not."""

import time
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest
from lateen_api.termination import ExitCode
from trainer.processes.gang import Gang

PROMPTLY = 3.0
"""Seconds. On an idle machine it is under 0.2; the bound leaves room for a loaded one."""

RECOVERY = {"heartbeatTimeout": "3s", "hangAfter": "1m", "startDeadline": "1m", "graceSeconds": 10}


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "signalled"), [(3, [1]), (2, [0, 1])])
def test_all_save_the_same_step_whoever_got_the_signal(tmp_path: Path, processes: int, signalled: list[int]):
    """An eviction tells one pod or all, never at one moment; a checkpoint of different steps would be worthless."""
    with Gang(tmp_path, processes, recovery=RECOVERY) as gang:
        gang.wait_for("step 5\n")
        for number in signalled:
            gang.signal(number, SIGTERM)
            time.sleep(0.05)
        codes, seconds = gang.exits()
        assert set(codes.values()) == {ExitCode.SAVED}
        assert seconds < PROMPTLY
        steps = {gang.outcome(number).step for number in range(processes)}
        saved = {(tmp_path / f"saved-{number}").read_text() for number in range(processes)}
        (step,) = steps
        assert saved == {str(step)}
        assert gang.outcome(0).checkpoint == f"step-{step}"
        assert {gang.outcome(number).signalled_process for number in range(processes)} == {signalled[0]}


@pytest.mark.slow
def test_before_training_there_is_nothing_to_save(tmp_path: Path):
    """Tokenising takes minutes, during which the loop cannot be asked: all leave at once."""
    with Gang(tmp_path, 2, recovery=RECOVERY, tokenize=60) as gang:
        gang.wait_for("tokenizing")
        gang.signal(1, SIGTERM)
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.SAVED, 1: ExitCode.SAVED}
        assert [gang.outcome(number).signalled_process for number in (0, 1)] == [1, 1]
        assert seconds < PROMPTLY


@pytest.mark.parametrize("what", [SIGTERM, SIGINT])
def test_a_lone_process_saves_too(tmp_path: Path, what: Signals):
    with Gang(tmp_path, 1, recovery=RECOVERY) as gang:
        gang.wait_for("step 5\n")
        gang.signal(0, what)
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.SAVED}
        assert seconds < PROMPTLY
        assert (tmp_path / "saved-0").read_text() == str(gang.outcome(0).step)


def test_a_process_that_waits_for_its_peers_leaves_at_once(tmp_path: Path):
    with Gang(tmp_path, 2, recovery=RECOVERY, absent=[1]) as gang:
        gang.wait_for("Meeting 1 other", processes=[0])
        gang.signal(0, SIGTERM)
        codes, seconds = gang.exits(without=[1])
        assert codes == {0: ExitCode.SAVED}
        assert seconds < PROMPTLY


def test_what_cannot_be_saved_in_time_is_said_before_the_grace_is_over(tmp_path: Path):
    with Gang(tmp_path, 1, recovery={**RECOVERY, "graceSeconds": 2}, save_seconds=60) as gang:
        gang.wait_for("step 5\n")
        gang.signal(0, SIGTERM)
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.NOT_SAVED}
        assert seconds < 2 + PROMPTLY
        step = gang.outcome(0).step
        assert gang.outcome(0).message == (
            f"The grace after SIGTERM is over; step {step} was reached, no step is saved."
        )


def test_a_second_signal_ends_the_saving(tmp_path: Path):
    with Gang(tmp_path, 1, recovery=RECOVERY, save_seconds=60) as gang:
        gang.wait_for("step 5\n")
        gang.signal(0, SIGTERM)
        time.sleep(1.2)
        gang.signal(0, SIGTERM)
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.NOT_SAVED}
        assert seconds < PROMPTLY


def test_the_echo_of_a_signal_is_no_second_one(tmp_path: Path):
    with Gang(tmp_path, 1, recovery=RECOVERY, save_seconds=1.5) as gang:
        gang.wait_for("step 5\n")
        gang.signal(0, SIGINT)
        gang.signal(0, SIGTERM)
        assert gang.exits()[0] == {0: ExitCode.SAVED}


def test_a_stop_while_native_code_runs_for_long_is_noticed(tmp_path: Path):
    """Python's handlers would wait for the main thread, which a compilation may hold for minutes."""
    with Gang(tmp_path, 1, recovery={**RECOVERY, "graceSeconds": 2}, mishaps={"0@5": "native code"}) as gang:
        gang.wait_for("step 5\n")
        gang.signal(0, SIGTERM)
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.NOT_SAVED}
        assert seconds < 2 + PROMPTLY
