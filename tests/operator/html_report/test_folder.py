"""What a run's folder says, whole or in pieces."""

import fcntl
import json
from pathlib import Path

import pytest
from lateen_api.errors import JobError
from lateen_operator.html_report.folder import read_run
from run_folders import DONE, ENDED, JOB, STEPS, loss, make_checkpoint, make_run, write

NOW = 1_896_092_000.0  # 2030-01-31T12:13:20Z


def test_a_complete_run(tmp_path: Path):
    folder = make_run(tmp_path / "nano", state="Complete", loss=loss(STEPS), validationLoss=2.25, tokens=81_920)
    make_checkpoint(folder / "checkpoints", 10, size=1000)
    make_checkpoint(folder / "checkpoints", STEPS, size=2000)
    run = read_run(folder, now=NOW)
    assert (run.name, run.state, run.step, run.of) == ("nano", "Complete", STEPS, STEPS)
    assert (run.loss, run.validation_loss, run.tokens) == (loss(STEPS), 2.25, 81_920)
    assert run.metrics.points("loss") == [(step, loss(step)) for step in range(1, STEPS + 1)]
    assert run.metrics.points("validation_loss") == [(20, 2.5), (STEPS, 2.25)]
    assert [entry.failure_class for entry in run.attempts] == ["Infrastructure", "Done"]
    assert [one.step for one in run.checkpoints] == [10, STEPS]
    assert [one.size > size for one, size in zip(run.checkpoints, (1000, 2000), strict=True)] == [True, True]
    assert run.versions["jax"] == "0.10.2"
    assert run.message is None
    assert run.notes == []


def test_the_parts_of_the_time_are_those_of_the_attempts(tmp_path: Path):
    run = read_run(make_run(tmp_path / "nano", state="Complete"), now=NOW)
    assert run.time is not None
    parts = {name: value for name, value in run.time.model_dump().items() if value}
    # Attempt 1: 10 s until its process began, 10 s of start, 40 s of training, 4 of them waiting for data, and the last
    # 10 of 20 steps for nothing as far as it alone tells. No time lies between its last sign and its end.
    assert parts == {
        "waiting_for_machines": 10.0,
        "starting": 10.0,
        "data": 4.0,
        "lost_steps": 18.0,
        "training": 18.0 + 50.0,
        "restoring": 5.0,
        "evaluating": 3.0,
        "saving": 2.0,
    }
    assert sum(parts.values()) == 120.0
    assert run.goodput == pytest.approx(71 / 110, abs=1e-3)


def test_a_run_in_progress_shows_what_is_there(tmp_path: Path):
    running = {key: value for key, value in DONE.items() if key not in ("ended", "failureClass", "reason", "message")}
    folder = make_run(tmp_path / "nano", attempts=[ENDED, running], state="Stopped", step=5)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = read_run(folder, now=NOW)
    assert (run.state, run.step) == ("Running", STEPS)
    assert run.attempts[-1].ended is None
    # It runs since 12:01:05, and what it does since it was heard last counts as that, too.
    assert run.time is not None and sum(run.time.model_dump().values()) == pytest.approx(60 + 735, abs=0.01)


def test_a_run_that_was_killed_was_cut_off(tmp_path: Path):
    running = {key: value for key, value in DONE.items() if key not in ("ended", "failureClass", "reason", "message")}
    run = read_run(make_run(tmp_path / "nano", attempts=[running]), now=NOW)
    assert (run.state, run.message) == ("Interrupted", "`lateen run` was killed")
    assert run.attempts[-1].ended == "2030-01-31T12:02:05.000Z"


def test_torn_lines_and_numbers_that_are_not_finite_are_left_out_and_told(tmp_path: Path):
    folder = make_run(tmp_path / "nano", state="Complete")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "attempt": 2, "loss": "NaN", "grad_norm": 0.5}\n[1]\n{"step": 42, "loss": 2.')
    run = read_run(folder, now=NOW)
    assert run.metrics.points("loss")[-1] == (STEPS, loss(STEPS))
    assert run.metrics.points("grad_norm")[-1] == (41, 0.5)
    assert run.notes == [
        "2 of 45 lines of metrics.jsonl are no numbers of a step: left out.",
        "1 numbers in metrics.jsonl are not finite: no curve has them.",
    ]


def test_a_folder_of_an_earlier_version(tmp_path: Path):
    folder = tmp_path / "nano"
    folder.mkdir()
    lines = [{"step": step, "attempt": 1, "loss": 3.0 - step} for step in range(3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    attempt = {
        "number": 1,
        "hosts": 1,
        "outcome": "Done",
        "exitCode": 0,
        "cause": "process 0 is done",
        "startedAt": 1.0,
    }
    write(folder / "attempts.json", {"attempts": [{**attempt, "seconds": 9.0}]})
    write(folder / "result.json", {"name": "nano", "outcome": "Complete", "steps": 3, "of": 3, "trainLoss": 1.0})
    run = read_run(folder, now=NOW)
    assert (run.state, run.step, run.loss) == ("Complete", 3, 1.0)
    assert run.metrics.points("loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert [entry.failure_class for entry in run.attempts] == ["Done"]
    assert len(run.notes) == 1 and "no job.json" in run.notes[0]


def test_a_job_of_a_cluster_brings_its_configuration_and_its_attempts(tmp_path: Path):
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "attempt": 1, "loss": 2.5}\n')
    make_checkpoint(folder, 1)
    time = {"training": 30.0, "waitingForMachines": 600.0}
    told = {
        "type": "Queued",
        "status": "True",
        "reason": "WaitingForAdmission",
        "message": "Kueue has not admitted it.",
    }
    condition = {**told, "lastTransitionTime": "2030-01-31T12:00:00Z"}
    status = {"state": "Queued", "conditions": [condition], "attempts": [ENDED], "time": time, "goodput": 0.75}
    run = read_run(folder, {**JOB, "status": status}, now=NOW)
    assert (run.name, run.state, run.goodput) == ("nano", "Queued", 0.75)
    assert run.message == "Kueue has not admitted it."
    assert run.time is not None and run.time.waiting_for_machines == 600.0
    assert [one.step for one in run.checkpoints] == [1]
    assert run.configuration is not None and "status" not in run.configuration


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such folder; expected the folder of a `lateen run`"),
        (lambda path: path.write_text("x"), "this is a file; expected the folder of a `lateen run`"),
        (lambda path: path.mkdir(), "this is no run's folder; expected the folder of a `lateen run`"),
        (lambda path: make_run(path, attempts=[{"number": "first"}]), "not a ledger of attempts"),
        (lambda path: (make_run(path) / "job.json").write_text("{"), "not JSON"),
    ],
)
def test_what_is_no_run_is_said(tmp_path: Path, make, said: str):
    path = tmp_path / "nano"
    make(path)
    with pytest.raises(JobError, match=said):
        read_run(path, now=NOW)


def test_a_bucket_is_to_be_copied_first():
    with pytest.raises(JobError, match=r"copy metrics\.jsonl from there first"):
        read_run(Path("gs://runs/nano"), now=NOW)
