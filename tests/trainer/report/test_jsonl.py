"""metrics.jsonl: exact numbers, strict JSON, each step once."""

import errno
import json
import math
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from lateen_trainer.report.jsonl import JsonLinesTracker


def lines(path: Path) -> list[dict]:
    """The objects of a file, read as strict JSON."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_line_holds_step_attempt_and_metrics(tmp_path: Path):
    tracker = JsonLinesTracker(tmp_path / "run" / "metrics.jsonl", attempt=2, start_step=0)
    tracker.log({"loss": 2.5, "grad_norm": 1.0}, step=7)
    assert lines(tmp_path / "run" / "metrics.jsonl") == [{"step": 7, "attempt": 2, "loss": 2.5, "grad_norm": 1.0}]


def test_float32_values_come_back_to_the_bit(tmp_path: Path):
    bits = np.random.default_rng(0).integers(0, 2**32, size=2000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    tracker = JsonLinesTracker(tmp_path / "metrics.jsonl", attempt=1, start_step=0)
    for step, value in enumerate(values):
        tracker.log({"loss": value}, step=step)
    tracker.finish()
    read = np.array([line["loss"] for line in lines(tmp_path / "metrics.jsonl")], dtype=np.float32)
    assert read.tobytes() == values.tobytes()


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_is_not_finite_is_text(tmp_path: Path, value: float, text: str):
    tracker = JsonLinesTracker(tmp_path / "metrics.jsonl", attempt=1, start_step=0)
    tracker.log({"loss": value}, step=0)
    assert lines(tmp_path / "metrics.jsonl")[0]["loss"] == text
    assert repr(float(text)) == repr(value)


def test_a_restart_removes_the_steps_that_are_trained_anew(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLinesTracker(path, attempt=1, start_step=0)
    for step in range(1, 11):
        first.log({"loss": float(step)}, step=step)
    second = JsonLinesTracker(path, attempt=2, start_step=6)
    for step in range(7, 9):
        second.log({"loss": float(step)}, step=step)
    assert [(line["step"], line["attempt"]) for line in lines(path)] == [
        (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 2), (8, 2)
    ]  # fmt: skip


def test_several_lines_of_a_step_before_the_restart_stay(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLinesTracker(path, attempt=1, start_step=0)
    first.log({"loss": 1.0}, step=5)
    first.log({"checkpoint_blocked_seconds": 0.1}, step=5)
    JsonLinesTracker(path, attempt=2, start_step=5)
    assert len(lines(path)) == 2


def test_an_evaluation_is_removed_that_a_restart_repeats(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLinesTracker(path, attempt=1, start_step=0)
    for step in (4, 5):
        first.log({"loss": 1.0}, step=step)
        first.log({"validation_loss": 2.0}, step=step)
    JsonLinesTracker(path, attempt=2, start_step=5)
    assert [set(line) - {"attempt"} for line in lines(path)] == [
        {"step", "loss"}, {"step", "validation_loss"}, {"step", "loss"}
    ]  # fmt: skip


def test_a_line_cut_off_by_a_kill_is_removed(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "attempt": 1, "loss": 1.0}\n{"step": 2, "att')
    JsonLinesTracker(path, attempt=2, start_step=2).log({"loss": 0.5}, step=3)
    assert [line["step"] for line in lines(path)] == [1, 3]


def test_a_file_of_a_version_that_counted_from_0_is_renumbered(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    older = [(0, "loss", 5.0), (1, "loss", 4.0), (1, "validation_loss", 4.5), (2, "loss", "NaN"), (3, "loss", 3.0)]
    path.write_text(
        "".join(json.dumps({"step": step, "attempt": 1, name: value}) + "\n" for step, name, value in older)
    )
    for _ in range(2):
        JsonLinesTracker(path, attempt=2, start_step=3)
        assert [(line["step"], line.get("loss", "-")) for line in lines(path)] == [
            (1, 5.0),
            (2, 4.0),
            (2, "-"),
            (3, "NaN"),
        ]


def test_a_restart_after_the_last_line_rewrites_nothing(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    JsonLinesTracker(path, attempt=1, start_step=0).log({"loss": 1.0}, step=1)
    inode = path.stat().st_ino
    JsonLinesTracker(path, attempt=2, start_step=1)
    assert path.stat().st_ino == inode


def test_a_line_for_which_there_is_no_room_is_left_whole_for_later(tmp_path: Path):
    """A limit of the file's size stands for a full disk: the system takes a part of the line, and then refuses."""
    path, errors = tmp_path / "metrics.jsonl", []
    tracker = JsonLinesTracker(path, attempt=1, start_step=0, on_error=errors.append)
    tracker.log({"loss": 1.0}, step=1)
    before, limits = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 10, limits[1]))
    try:
        tracker.log({"loss": 2.0}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [(error.errno, error.filename) for error in errors] == [(errno.EFBIG, str(path))]
    assert path.stat().st_size == before
    tracker.log({"loss": 3.0}, step=3)
    assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 1.0), (2, 2.0), (3, 3.0)]
