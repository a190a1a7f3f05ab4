"""What `lateen plan` says of a job's training data: how large its sources are, and how often the run reads each."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lateen_api.plan.result import Plan, PlannedSource
from lateen_api.spec import LMTrainingJob

_MODULE = "lateen_trainer.data.plan_process"
_NEEDED = ("lateen_trainer", "numpy", "tensorstore", "tokenizers")
TIMEOUT = 15.0
"""Seconds that storages and the Hugging Face hub have to answer."""


def with_sources(plan: Plan, job: LMTrainingJob, run_dir: Path, timeout: float = TIMEOUT) -> Plan:
    """The plan with what is known of each source: its files, and where its cache is whole its sequences and epochs.

    What cannot be known here is a warning: a job may run where other files are seen.

    Args:
        plan: of the job.
        job: what is planned.
        run_dir: folder of the run, which a relative `spec.data.cacheDir` is below.
        timeout: seconds after which the result has what was found until then.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        unknown = f"not known, since the trainer is not installed here ({missing[0]} is missing)"
        return _with(plan, [source.model_copy(update={"unknown": unknown}) for source in plan.sources])
    found: dict[str, dict[str, Any]] = {source.name: {} for source in plan.sources}
    lines, ended = _look(job, run_dir, timeout)
    for line in lines:
        # Sources that give nothing to this run are in no plan.
        found.get(line["name"], {}).update(line)
    sources, warnings = [], []
    for source in plan.sources:
        known = found[source.name]
        error = known.pop("error", None)
        if error is None and not {"available", "unknown"} & known.keys():
            error = ended
        if error is not None:
            known["unknown"] = "not known here"
            warnings.append(f"{_called(source)} could not be looked at: {error}")
        sources.append(_complete(source, known, plan))
    return _with(plan, sources, warnings)


def _look(job: LMTrainingJob, run_dir: Path, timeout: float) -> tuple[list[dict[str, Any]], str]:
    """What a process of the trainer's finds out, and why it may have found no more."""
    request = {"job": job.model_dump(mode="json", by_alias=True), "runDir": str(run_dir)}
    command = [sys.executable, "-m", _MODULE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace") as process:
        try:
            output, errors = process.communicate(json.dumps(request), timeout=timeout)
            last = (errors.strip().splitlines() or ["no message"])[-1]
            ended = f"the process that looks ended with code {process.returncode} ({last})."
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            ended = f"no answer of its storage within {timeout:g} s. Check the network, or use --no-data."
    return list(_lines(output)), ended


def _lines(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the process was killed while it wrote


def _complete(source: PlannedSource, known: dict[str, Any], plan: Plan) -> PlannedSource:
    total = sum(planned.sequences for planned in plan.sources)
    sequences, available = known.get("sequences", source.sequences), known.get("available")
    epochs = sequences / available if available else None
    if available == 0:
        known["unknown"] = "none, since its text is too short for a sequence"
    return source.model_copy(update={**known, "share": sequences / total, "epochs": epochs})


def _with(plan: Plan, sources: list[PlannedSource], warnings: list[str] | None = None) -> Plan:
    return plan.model_copy(update={"sources": sources, "warnings": [*plan.warnings, *(warnings or [])]})


def _called(source: PlannedSource) -> str:
    return f"Source {source.name}" if source.name else "The training data"
