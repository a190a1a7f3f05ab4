"""Webhook configurations as a controller's module ships them, for a controller that is a process of this machine."""

from base64 import b64encode
from pathlib import Path
from typing import Any


def client_config(path: str, port: int, authority: Path) -> dict[str, Any]:
    """Where the API server finds the webhook `path` of the process that listens on `port`.

    Args:
        path: of the URL, as /convert.
        port: on this machine.
        authority: certificate that signed the process's own, PEM.
    """
    return {"url": f"https://127.0.0.1:{port}{path}", "caBundle": b64encode(authority.read_bytes()).decode()}


def reachable(configuration: dict[str, Any], owner: str, port: int, authority: Path) -> dict[str, Any]:
    """The configuration, pointing at the process, and with a name that two controllers do not share."""
    metadata = {**configuration["metadata"], "name": f"{owner}-{configuration['metadata']['name']}"}
    webhooks = [
        webhook | {"clientConfig": client_config(webhook["clientConfig"]["service"]["path"], port, authority)}
        for webhook in configuration["webhooks"]
    ]
    return configuration | {"metadata": metadata, "webhooks": webhooks}
