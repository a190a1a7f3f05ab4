"""What the cases came to, kept in a folder: an hour's work need not be done in one go."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from reproducibility.bits import Bits
from reproducibility.cases import Case, reference
from reproducibility.scenarios import run_case


@dataclass(frozen=True)
class Result:
    """How a case ended."""

    seconds: float
    bits: Bits | None
    """None: the run did not come to its end."""

    error: str | None = None
    """Why it did not."""


class Results:
    """The results below a folder.

    Args:
        work: folder for results, runs, tokens and compiled programs; need not exist.
    """

    def __init__(self, work: Path):
        self._work = work
        (work / "results").mkdir(parents=True, exist_ok=True)

    def read(self, case: Case) -> Result | None:
        """The result of a case; None: it was not run."""
        path = self._path(case)
        if not path.exists():
            return None
        fields = json.loads(path.read_text())
        bits = fields["bits"]
        return Result(fields["seconds"], None if bits is None else Bits(**bits), fields["error"])

    def run(self, case: Case) -> Result:
        """Runs a case, and keeps its result. What a failed run has left stays there to be looked at."""
        run = self._work / "runs" / str(case)
        shutil.rmtree(run, ignore_errors=True)
        began = time.monotonic()
        bits = error = None
        try:
            bits = run_case(case, run, self._work)
        except AssertionError as failed:
            error = str(failed)
        result = Result(round(time.monotonic() - began, 1), bits, error)
        fields = {"seconds": result.seconds, "bits": None if bits is None else bits.to_json(), "error": error}
        self._path(case).write_text(json.dumps(fields, indent=1))
        if bits is not None:
            shutil.rmtree(run)
        return result

    def verdict(self, case: Case) -> str:
        """`reference`, `equal` to it, what differs from it, `failed` or `not run`."""
        result, first = self.read(case), self.read(reference(case.numerics))
        if result is None or first is None or first.bits is None:
            return "not run"
        if result.bits is None:
            return "failed"
        if case == reference(case.numerics):
            return "reference"
        difference = result.bits.difference(first.bits)
        return "equal" if difference is None else f"differs: {difference}"

    def _path(self, case: Case) -> Path:
        return self._work / "results" / f"{case}.json"
