"""The ConfigMap of an attempt: the job as its pods read it, and the ledger as of its start."""

from typing import Any

from lateen_operator import names
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.owner import metadata


def config_map(attempt: NewAttempt, ledger_json: str) -> dict[str, Any]:
    """The manifest. It is immutable: the pods of an attempt all read the same job, and kubelets need not watch it.

    Args:
        attempt: whose it is.
        ledger_json: ledger and budgets, from which a status that was wiped is written again.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(attempt.owner, attempt.name, attempt.labels, attempt.annotations),
        "immutable": True,
        "data": {names.JOB_KEY: attempt.resolved.resolved_json, names.LEDGER_KEY: ledger_json},
    }
