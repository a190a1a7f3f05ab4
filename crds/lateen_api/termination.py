"""How a trainer process ends: a small table of exit codes, and the same as JSON in the termination message.

Codes 40 to 49 are the trainer's own. Everything else (1 from an exception, 137 from SIGKILL, …) is read by
the operator together with the container's reason.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lateen_api.escaping import escaped
from lateen_api.masking import masked
from lateen_api.progress import Phase


class ExitCode(IntEnum):
    """Exit codes of a trainer process."""

    DONE = 0
    """All steps were trained; the last checkpoint is committed."""

    ERROR = 1
    """An exception that no other code names."""

    USER_ERROR = 40
    """The job cannot run as it is written: a wrong field, a missing file, no access."""

    BAD_DATA = 41
    """A file of the data set cannot be read or decoded."""

    SAVED = 42
    """SIGTERM arrived; the step was finished and its state saved."""

    NAN = 43
    """The loss became NaN or infinite and `recovery.onNaN` says stop, or leaving batches out did not help."""

    LOST_PEER = 44
    """Another process of the attempt is gone."""

    HANG = 45
    """The step has not moved for `recovery.hangAfter`."""

    CORRUPT_CHECKPOINT = 46
    """No checkpoint of the run could be restored, though there are some."""

    NOT_SAVED = 47
    """SIGTERM arrived, but the state could not be saved in time."""


MEANING = {
    ExitCode.DONE: "done",
    ExitCode.ERROR: "unexpected error",
    ExitCode.USER_ERROR: "the job cannot run as written",
    ExitCode.BAD_DATA: "bad data",
    ExitCode.SAVED: "saved and stopped",
    ExitCode.NAN: "loss is not finite",
    ExitCode.LOST_PEER: "lost a peer",
    ExitCode.HANG: "hung",
    ExitCode.CORRUPT_CHECKPOINT: "no checkpoint can be restored",
    ExitCode.NOT_SAVED: "stopped without saving",
}
"""The codes in words, for people."""


LONGEST_MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""


@dataclass(frozen=True)
class TerminationMessage:
    """The termination message of a trainer process."""

    exit_code: ExitCode
    message: str
    """One sentence for people."""

    step: int | None = None
    """Steps trained when it ended; None: it never started."""

    checkpoint: str | None = None
    """Last committed checkpoint."""

    checkpoint_step: int | None = None
    """Steps trained at that checkpoint."""

    loss: float | None = None
    """Training loss of the last step, in nats per token; None: it trained none, or it is not finite."""

    lost_process: int | None = None
    """The process that is gone, where this one ends because of that; None: it ends for another reason, or nobody
    knows which process is gone."""

    start_step: int | None = None
    """Steps that were trained when the process began: those of the checkpoint that it restored, 0 without one.
    None: it ended before that was known."""

    process_started_at: float | None = None
    """When the process began: seconds since the epoch."""

    phase_seconds: Mapping[Phase, float] | None = None
    """Seconds that it spent in each phase; None: not known."""

    data_wait_seconds: float | None = None
    """Seconds of them that training waited for batches."""

    signalled_process: int | None = None
    """The process that got SIGTERM first, where all of them agreed to save and stop because of it. All were alive then:
    the signal did not follow from the end of another one. None: they agreed on nothing."""

    def to_json(self) -> str:
        """At most 4 KiB in UTF-8, the limit of a Kubernetes termination message: the end of a longer message is cut."""
        message = escaped(self.message)
        while True:
            fields = {
                "exitCode": int(self.exit_code),
                "message": message,
                "step": self.step,
                "checkpoint": self.checkpoint and escaped(self.checkpoint),
                "startStep": self.start_step,
                **_known(
                    checkpointStep=self.checkpoint_step,
                    loss=self.loss,
                    processStartedAt=self.process_started_at,
                    dataWaitSeconds=self.data_wait_seconds,
                    phaseSeconds=self.phase_seconds
                    and {phase.value: round(seconds, 3) for phase, seconds in self.phase_seconds.items()},
                    lostProcess=self.lost_process,
                    signalledProcess=self.signalled_process,
                ),
            }
            text = json.dumps(fields, ensure_ascii=False)
            if len(text.encode()) <= LONGEST_MESSAGE or not message:
                return text
            message = message[: len(message) * 3 // 4]

    @classmethod
    def from_json(cls, text: str) -> "TerminationMessage":
        """Reads what `to_json` wrote. Secrets in URLs are masked, as the message goes into ledgers and results.

        Raises:
            ValueError: the text is no outcome (a process that was killed leaves none, or half of one).
        """
        try:
            fields = json.loads(text)
            exit_code, message = ExitCode(fields["exitCode"]), str(fields["message"])
            return cls(
                exit_code=exit_code,
                message=masked(message),
                step=fields.get("step"),
                checkpoint=fields.get("checkpoint"),
                checkpoint_step=_number(fields.get("checkpointStep")),
                loss=_real(fields.get("loss")),
                process_started_at=_real(fields.get("processStartedAt")),
                data_wait_seconds=_real(fields.get("dataWaitSeconds")),
                phase_seconds=_phases(fields.get("phaseSeconds")),
                lost_process=_number(fields.get("lostProcess")),
                start_step=fields.get("startStep"),
                signalled_process=_number(fields.get("signalledProcess")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an outcome: {text[:200]!r}") from error


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _phases(value: Any) -> dict[Phase, float] | None:
    return None if value is None else {Phase(phase): float(seconds) for phase, seconds in value.items()}


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
