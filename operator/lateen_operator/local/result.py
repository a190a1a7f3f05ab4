"""How a run came out: `result.json` and `loss.svg`, from the ledger and from what the trainer left."""

from collections.abc import Sequence
from typing import Any

from lateen_api.spec import LMTrainingJob

from lateen_operator.attempts import Attempt, Fail, Finish
from lateen_operator.goodput import sum_of, time_of
from lateen_operator.local.folder import RunFolder, read_json, write_json, write_text
from lateen_operator.local.ledger import entries
from lateen_operator.local.loss_chart import loss_chart
from lateen_operator.local.losses import Points, read_metrics
from lateen_operator.local.supervisor import RunResult

COMPLETE, STOPPED, FAILED = "Complete", "Stopped", "Failed"


def make_result(job: LMTrainingJob, folder: RunFolder, run_result: RunResult) -> dict[str, Any]:
    """How the run came out, as `result.json` holds it."""
    training, validation = (curve.points() for curve in read_metrics(folder.metrics))
    summary = read_json(folder.summary) if isinstance(run_result.decision, Finish) else None
    return _result(job, run_result, summary or {}, training, validation)


def write_result(job: LMTrainingJob, folder: RunFolder, result: dict[str, Any]) -> None:
    """Writes `result.json`, and `loss.svg` when there are losses.

    Raises:
        OSError: one of them cannot be written.
    """
    write_json(folder.result, result)
    training, validation = (curve.points() for curve in read_metrics(folder.metrics))
    if training:
        title = f"{job.metadata.name}: loss"
        write_text(folder.loss_chart, loss_chart(title, training, validation, result["unigramEntropy"]))


def is_complete(result: dict[str, Any] | None, steps: int) -> bool:
    """Does the result of an earlier `lateen run` say that the job, of so many steps, is complete?"""
    if result is None:
        return False
    result = from_older(result)
    return result.get("state") == COMPLETE and result.get("step", 0) >= steps


def from_older(result: dict[str, Any]) -> dict[str, Any]:
    """The result with the names of now: versions before 0.2 had others for some."""
    names = {"outcome": "state", "cause": "message", "steps": "step", "trainLoss": "loss"}
    return result if "state" in result else {names.get(name, name): value for name, value in result.items()}


def _result(
    job: LMTrainingJob, run_result: RunResult, summary: dict[str, Any], training: Points, validation: Points
) -> dict[str, Any]:
    attempts, decision = run_result.attempts, run_result.decision
    last = attempts[-1] if attempts else None
    step = summary.get("step", (last.step if last else None) or 0)
    failure = decision.verdict if isinstance(decision, Fail) else None
    tokens_a_step = job.spec.trainer.train_batch_size * job.spec.model.seq_len
    return {
        "name": job.metadata.name,
        "state": COMPLETE if isinstance(decision, Finish) else FAILED if isinstance(decision, Fail) else STOPPED,
        "exitCode": run_result.exit_code,
        "failureClass": failure and failure.failure_class.value,
        "reason": failure and failure.reason,
        "message": failure and failure.message,
        "step": step,
        "of": job.spec.trainer.num_train_steps,
        "tokens": summary.get("tokens", step * tokens_a_step),
        "loss": _first(summary.get("loss"), _last(training)),
        "validationLoss": _first(summary.get("validationLoss"), _last(validation)),
        "skippedBatches": summary.get("skippedBatches", []),
        "skippedDocuments": summary.get("skippedDocuments", 0),
        "unigramEntropy": summary.get("unigramEntropy"),
        "sample": summary.get("sample"),
        "samples": summary.get("samples", []),
        "seconds": round(sum((a.ended_at or a.started_at) - a.started_at for a in attempts), 3),
        "time": _time(attempts),
        "attemptCount": len(attempts),
        "checkpoint": last.checkpoint if last else None,
        "attempts": entries(attempts),
    }


def _time(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Where the time on this machine went: what lies between two `lateen run`s is no part of it."""
    each = [time_of([one], since=one.started_at, until=one.ended_at or one.started_at) for one in attempts]
    return sum_of(each).model_dump(by_alias=True)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _last(points: Points) -> float | None:
    return points[-1][1] if points else None
