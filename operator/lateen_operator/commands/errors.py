"""What goes wrong between a command and the cluster, told so that a person can mend it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lateen_api.termination import ExitCode


class CommandError(Exception):
    """Ends the command with a message and an exit code."""

    def __init__(self, message: str, exit_code: int = ExitCode.ERROR):
        super().__init__(message)
        self.exit_code = int(exit_code)


@contextmanager
def explained(doing: str, host: str) -> Iterator[None]:
    """Turns what the client raises into a message.

    Args:
        doing: what was asked for, after "may not": `read the job nano in the namespace default`.
        host: URL of the API server.

    Raises:
        CommandError: the API server did not answer, or refused.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise CommandError(_refusal(error, doing)) from error
    except HTTPError as error:
        raise CommandError(
            f"The API server at {host} does not answer: {_shortest(error)}. Check the network and the context "
            "(`kubectl config get-contexts`), or name another by --context."
        ) from error


def reason_of(error: Any) -> tuple[str, str]:
    """(reason, message) of an API server's refusal; empty where it sent no Status."""
    try:
        status = json.loads(error.body or "")
    except (TypeError, ValueError):
        return "", ""
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("reason") or ""), str(status.get("message") or "")


def _refusal(error: Any, doing: str) -> str:
    reason, message = reason_of(error)
    if error.status == 401:
        return "The API server does not accept your credentials. Log in to the cluster again."
    if error.status == 403:
        return f"You may not {doing}: {message or error.reason}. Ask an administrator of the cluster for the right to."
    if error.status == 404 and not reason:
        return (
            "The cluster knows no LMTrainingJobs: its API server has not got the CustomResourceDefinition. Install it "
            "by `lateen crd | kubectl apply --server-side -f -`, or name another cluster by --context."
        )
    return f"The API server refused to {doing}: {message or error.reason} ({error.status})."


def _shortest(error: BaseException) -> str:
    """The innermost cause, which names what happened rather than who was told of it."""
    inner = getattr(error, "reason", None)
    text = str(inner or error)
    return text.rpartition(": ")[2].strip("'() ") or type(error).__name__
