"""`metrics.jsonl`: one JSON object a line, each step once, numbers to the last bit.

    {"step": 41, "attempt": 2, "loss": 3.0718631744384766, "grad_norm": 0.7303}

`step` is the number of steps trained, the line's own included; an evaluation is of the model after so many. Versions
before 0.2 counted from 0, and a file of theirs is renumbered when it is gone on with.

A float32 is written as the shortest decimal of its float64 value, so reading it and rounding to float32
gives the same bits. What is not finite is written as protobuf's JSON mapping does: "NaN", "Infinity" or
"-Infinity" as text, since JSON itself has no such numbers; `float(value)` reads all of them.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from lateen_api.files import replace_text
from lateen_api.metrics_file import steps_offset

from lateen_trainer.report import names


class JsonLinesTracker:
    """Writes a run's metrics to a file. For process 0 alone.

    Args:
        path: the file; its folder is made if it is missing.
        attempt: number of the attempt, written into each line.
        start_step: steps trained when this attempt starts. Lines of later steps, which an attempt wrote that was lost
            before its next checkpoint, are removed: their steps are trained again. So is an evaluation of the state
            that it starts from, which is repeated.
        on_error: called with an error of writing instead of raising it, so that the run can save its state before it
            ends. Lines that could not be written are tried again with the next one.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, attempt: int, start_step: int, on_error: Callable[[OSError], None] | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._attempt, self._on_error = path, attempt, on_error
        self._unwritten = b""
        self._file = self._open_from(start_step)

    def _open_from(self, step: int) -> FileIO:
        drop_steps_after(self._path, step)
        # Without a buffer: a line is there as soon as it is logged, and a killed process leaves at most half of one.
        return self._path.open("ab", buffering=0)

    def rewind(self, step: int) -> None:
        """Removes the lines of steps after `step`, and the evaluation of its state."""
        self.finish()
        self._file = self._open_from(step)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Writes a line."""
        numbers = {name: as_json(float(value)) for name, value in metrics.items()}
        line = json.dumps({"step": step, "attempt": self._attempt, **numbers}, allow_nan=False) + "\n"
        self._unwritten += line.encode()
        self._write()

    def finish(self) -> None:
        """Closes the file, once it is on the disk."""
        self._write()
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            self._failed(error)

    def _write(self) -> None:
        """Writes what is not written yet, all of it or nothing: half a line would not be JSON."""
        if not self._unwritten:
            return
        end = os.fstat(self._file.fileno()).st_size
        try:
            done = self._file.write(self._unwritten)
            while done < len(self._unwritten):  # a disk that becomes full takes a part, and then says so
                done += self._file.write(self._unwritten[done:])
            self._unwritten = b""
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), end)
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        error.filename = str(self._path)
        if self._on_error is None:
            raise error
        self._on_error(error)


def as_json(value: float) -> float | str:
    """A number as strict JSON has it; what is not finite as text."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def drop_steps_after(path: Path, step: int) -> None:
    """Removes what the training that goes on from `step` trained steps writes, and a last line that was cut off. The
    file is replaced as a whole, so that a reader sees the old or the new one."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    numbers = [line for line in map(_numbers, text.splitlines(keepends=True)) if line is not None]
    offset = steps_offset(numbers)
    kept = [{**line, "step": line["step"] + offset} for line in numbers]
    written = "".join(json.dumps(line) + "\n" for line in kept if _is_before(line, step))
    if written != text:
        replace_text(path, written)


def _numbers(line: str) -> dict[str, Any] | None:
    """What a line holds; None: it is no line of ours (half of one, say)."""
    try:
        numbers = json.loads(line) if line.endswith("\n") else None
        return {**numbers, "step": int(numbers["step"])} if numbers is not None else None
    except (ValueError, TypeError, KeyError):
        return None


def _is_before(numbers: Mapping[str, Any], step: int) -> bool:
    """Is it of the first `step` steps, and no evaluation of the state after them?"""
    return numbers["step"] < step or (numbers["step"] == step and names.VALIDATION_LOSS not in numbers)
