"""The ledger of attempts on disk: it outlives the supervisor, so numbers and costs go on where they stood."""

from collections.abc import Sequence
from typing import Any

from lateen_api.errors import JobError

from lateen_operator.attempts import Attempt, steps_lost
from lateen_operator.local.folder import RunFolder, read_json, write_json
from lateen_operator.verdict import Kind, Verdict


def entries(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """The attempts as they stand in attempts.json and result.json."""
    return [_entry(attempt, steps_lost(attempts, index)) for index, attempt in enumerate(attempts)]


def _entry(attempt: Attempt, lost: int) -> dict[str, Any]:
    verdict = attempt.verdict
    return {
        "number": attempt.number,
        "hosts": attempt.hosts,
        "outcome": verdict.kind.value if verdict else "Running",
        "exitCode": verdict.exit_code if verdict else None,
        "cause": verdict.message if verdict else None,
        "reason": verdict.reason if verdict else None,
        "process": verdict.process if verdict else None,
        "firstStep": attempt.first_step,
        "step": attempt.step,
        "checkpointStep": attempt.checkpoint_step,
        "checkpoint": attempt.checkpoint,
        "stepsLost": lost if verdict and verdict.kind is not Kind.DONE else 0,
        "startedAt": round(attempt.started_at, 3),
        "seconds": None if attempt.ended_at is None else round(attempt.ended_at - attempt.started_at, 3),
    }


def write(folder: RunFolder, attempts: Sequence[Attempt]) -> None:
    """Replaces the ledger."""
    write_json(folder.attempts, {"attempts": entries(attempts)})


def read(folder: RunFolder) -> list[Attempt]:
    """The ledger of earlier `lateen run`s. An attempt that nobody saw the end of was cut off with its supervisor.

    Raises:
        JobError: the file holds something else.
    """
    stored = read_json(folder.attempts) or {"attempts": []}
    try:
        return [_attempt(fields) for fields in stored["attempts"]]
    except (KeyError, TypeError, ValueError) as error:
        message = f"not a ledger of attempts ({error!r}); mend or remove the file"
        raise JobError(str(folder.attempts), message) from error


def _attempt(fields: dict[str, Any]) -> Attempt:
    seconds = fields["seconds"] or 0.0
    if fields["outcome"] == "Running":
        verdict = Verdict(Kind.INFRASTRUCTURE, 137, "`lateen run` was killed", reason="SIGKILL")
    else:
        verdict = Verdict(
            kind=Kind(fields["outcome"]),
            exit_code=fields["exitCode"],
            message=fields["cause"],
            process=fields["process"],
            reason=fields.get("reason") or "",
        )
    return Attempt(
        number=fields["number"],
        hosts=fields["hosts"],
        started_at=fields["startedAt"],
        ended_at=fields["startedAt"] + seconds,
        verdict=verdict,
        first_step=fields["firstStep"],
        step=fields["step"],
        checkpoint_step=fields["checkpointStep"],
        checkpoint=fields["checkpoint"],
    )
