"""The ledger of attempts on disk: it outlives the supervisor, so numbers and costs go on where they stood."""

from collections.abc import Mapping, Sequence
from typing import Any

from lateen_api.errors import JobError
from lateen_api.status import AttemptStatus

from lateen_operator.attempt_codec import from_status, ledger_to_status, seconds, timestamp
from lateen_operator.attempts import Attempt
from lateen_operator.local.folder import RunFolder, read_json, write_json
from lateen_operator.process_exit import FailureClass

_OF_CLUSTERS = {"wanted_hosts", "next_hosts", "spec_digest", "seconds_to_next_step", "cause", "node"}
"""Fields of a status that say nothing of a run on this machine."""


def entries(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """The attempts as they stand in attempts.json and result.json: like those in the status of a job on a cluster."""
    return [entry.model_dump(mode="json", by_alias=True, exclude=_OF_CLUSTERS) for entry in ledger_to_status(attempts)]


def write(folder: RunFolder, attempts: Sequence[Attempt]) -> None:
    """Replaces the ledger."""
    write_json(folder.attempts, {"attempts": entries(attempts)})


def read(folder: RunFolder) -> list[Attempt]:
    """The ledger of earlier `lateen run`s. An attempt that nobody saw the end of was cut off with its supervisor.

    Raises:
        JobError: the file holds something else.
    """
    return [from_status(entry if entry.ended is not None else cut_off(entry)) for entry in read_entries(folder)]


def read_entries(folder: RunFolder) -> list[AttemptStatus]:
    """The ledger as it stands in the file, oldest first; empty if there is none.

    Raises:
        JobError: the file holds something else.
    """
    stored = read_json(folder.attempts) or {"attempts": []}
    try:
        return [
            AttemptStatus.model_validate(_from_older(fields) if "outcome" in fields else fields)
            for fields in stored["attempts"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        message = f"not a ledger of attempts ({error!r}); mend or remove the file"
        raise JobError(str(folder.attempts), message) from error


def cut_off(entry: AttemptStatus) -> AttemptStatus:
    """The entry of an attempt whose supervisor was killed. It ended when its process 0 was heard of last."""
    heard = seconds(entry.process_started or entry.started) + sum((entry.phase_seconds or {}).values())
    killed = {"failure_class": FailureClass.INFRASTRUCTURE, "reason": "SIGKILL", "exit_code": 137}
    return entry.model_copy(update={**killed, "ended": timestamp(heard), "message": "`lateen run` was killed"})


def _from_older(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as versions before 0.2 wrote it."""
    is_running = fields["outcome"] == "Running"
    started, lasted = fields["startedAt"], fields["seconds"]
    return {
        **fields,
        "failureClass": None if is_running else fields["outcome"],
        "message": fields["cause"],
        "cause": None,
        "started": timestamp(started),
        "ended": None if is_running else timestamp(started + (lasted or 0.0)),
    }
