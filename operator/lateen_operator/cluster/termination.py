"""The annotation on a JobSet whose pods the operator terminates: since when, and why."""

import json
from dataclasses import dataclass

from lateen_operator.attempt_codec import seconds, timestamp
from lateen_operator.process_exit import FailureClass
from lateen_operator.verdict import Verdict


@dataclass(frozen=True)
class Termination:
    """Since when, and why, the pods of an attempt are being terminated."""

    terminating_since: float
    cause: Verdict | None = None
    """The verdict on the attempt; None: its processes' ends tell it."""

    def to_json(self) -> str:
        """The annotation's text."""
        cause = self.cause
        written = cause and {
            "failureClass": cause.failure_class.value,
            "exitCode": int(cause.exit_code),
            "message": cause.message,
            "process": cause.process,
            "retry": cause.retry,
            "reason": cause.reason,
            "node": cause.node,
            "nextHosts": cause.next_hosts,
        }
        return json.dumps({"terminatingSince": timestamp(self.terminating_since), "cause": written})

    @classmethod
    def from_json(cls, text: str) -> "Termination":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: it did not write this.
        """
        try:
            fields = json.loads(text)
            cause = fields["cause"]
            return cls(
                seconds(fields.get("terminatingSince") or fields["toldAt"]),
                cause
                and Verdict(
                    failure_class=FailureClass(cause.get("failureClass") or cause["kind"]),
                    exit_code=int(cause["exitCode"]),
                    message=str(cause["message"]),
                    process=cause["process"],
                    retry=bool(cause["retry"]),
                    reason=str(cause["reason"]),
                    node=cause["node"],
                    next_hosts=cause["nextHosts"],
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not what the operator writes: {text[:200]!r}") from error
