"""How the block of a `Lifecycle` ends, in this very process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lateen_api.environment import ProcessEnvironment
from lateen_api.errors import JobError
from lateen_api.progress import Phase
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_trainer.errors import CorruptCheckpointError, NotFiniteError, UserError
from lateen_trainer.processes import Lifecycle


@pytest.fixture
def environment(tmp_path: Path) -> ProcessEnvironment:
    """A lone process whose outcome goes to a file."""
    return ProcessEnvironment(job_file="job.json", termination_log=str(tmp_path / "outcome"))


def outcome(environment: ProcessEnvironment) -> TerminationMessage:
    """The termination message."""
    assert environment.termination_log is not None
    return TerminationMessage.from_json(Path(environment.termination_log).read_text())


def test_a_signal_after_a_block_that_ends_the_process_changes_nothing():
    """In a process of its own: it would end this one."""
    program = (
        "import os, signal; from lateen_api.environment import ProcessEnvironment; "
        "from lateen_trainer.processes import Lifecycle, leave\n"
        "with Lifecycle(ProcessEnvironment('job.json'), ends_process=True) as life: life.saved()\n"
        "os.kill(os.getpid(), signal.SIGTERM); leave(life.exit_code)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == ExitCode.SAVED


def test_a_block_that_completes_is_done(environment: ProcessEnvironment):
    with Lifecycle(environment) as life:
        life.beat(Phase.TRAINING, 10)
        life.committed("step-10", 10)
    assert life.exit_code is ExitCode.DONE
    assert outcome(environment) == TerminationMessage(ExitCode.DONE, "All steps are trained.", 10, "step-10", 10)


def test_a_remark_ends_the_message_of_a_run_that_ends_well(environment: ProcessEnvironment):
    with Lifecycle(environment) as life:
        life.remark("Batch 3 was left out.")
        life.remark("Batches 3 and 4 were left out.")
    assert outcome(environment).message == "All steps are trained. Batches 3 and 4 were left out."


def test_a_stop_that_was_asked_for_stops_the_loop(environment: ProcessEnvironment):
    answers = []
    with Lifecycle(environment) as life:
        answers.append(life.should_stop())
        os.kill(os.getpid(), signal.SIGTERM)
        while not life.stop_requested:
            pass
        answers.append(life.should_stop())
        life.beat(Phase.TRAINING, 3)
        life.saved()
    assert answers == [False, True]
    assert (life.exit_code, outcome(environment).step) == (ExitCode.SAVED, 3)


def test_once_there_is_something_to_save_a_stop_is_left_to_the_loop(environment: ProcessEnvironment):
    """The first step may be reported, and be saved by a rule, before the loop asks for the first time."""
    with Lifecycle(environment) as life:
        life.begun()
        life.beat(Phase.TRAINING, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        while not life.stop_requested:
            pass
        assert life.should_stop()
        life.saved()
    assert outcome(environment).message == "SIGTERM arrived; the step was finished and its state saved."


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("spec.data: no file"), ExitCode.USER_ERROR, "spec.data: no file"),
        (JobError("spec.trainer", "is odd"), ExitCode.USER_ERROR, "spec.trainer: is odd"),
        (NotFiniteError("loss is nan", step=3), ExitCode.NAN, "loss is nan"),
        (CorruptCheckpointError("step-4 is torn"), ExitCode.CORRUPT_CHECKPOINT, "step-4 is torn"),
    ],
)
def test_a_known_error_has_its_code_and_no_traceback(
    environment: ProcessEnvironment,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    code: ExitCode,
    message: str,
):
    with Lifecycle(environment) as life:
        raise error
    assert life.exit_code is code
    assert outcome(environment) == TerminationMessage(code, message)
    assert "Traceback" not in capfd.readouterr().err


def test_an_unexpected_error_shows_its_traceback(environment: ProcessEnvironment, capfd: pytest.CaptureFixture[str]):
    with Lifecycle(environment) as life:
        raise ZeroDivisionError("by zero")
    assert outcome(environment) == TerminationMessage(ExitCode.ERROR, "ZeroDivisionError: by zero")
    assert life.exit_code is ExitCode.ERROR
    assert 'raise ZeroDivisionError("by zero")' in capfd.readouterr().err


def test_gloos_broken_connection_is_a_lost_peer(environment: ProcessEnvironment):
    text = "UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Read error [127.0.0.1]:2: Connection reset by peer"
    with Lifecycle(environment) as life:
        raise ValueError(text)
    assert life.exit_code is ExitCode.LOST_PEER
    assert outcome(environment).message == f"The connection to a peer broke: {text}"


def test_the_signals_are_given_back(environment: ProcessEnvironment):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with Lifecycle(environment):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_loop_is_stale_once_its_step_takes_too_long(environment: ProcessEnvironment):
    with Lifecycle(environment) as life:
        life.beat(Phase.TRAINING, 1)
        assert life.stale() is None
