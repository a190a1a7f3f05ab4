"""Secrets of a run, taken out of everything that the page shows.

A run's job.json holds URLs with their passwords and signatures, since the trainer needs them. They may come up again
wherever the trainer or a library quotes one: in messages of attempts, in samples, in names of files.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from lateen_api.masking import MASK, is_secret, is_secret_name, masked, without_secrets

_SHORTEST = 6
"""Characters. Shorter values are words that stand elsewhere, too, and no secrets to speak of."""

_SHORTEST_UNNAMED = 12
"""The same of a parameter that is not called like a secret."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+")


class Mask:
    """Takes the secrets of a job out of texts.

    Args:
        job: the job as plain data, with its secrets.
    """

    def __init__(self, job: Any):
        found = {secret for secret in _secrets(job) if len(secret) >= _SHORTEST and secret != MASK}
        # The longest first: one may be a part of another.
        self._secrets = sorted(found, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without secrets."""
        text = masked(text)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def data(self, data: Any) -> Any:
        """A copy of plain data without secrets: values of variables that are called like some, and all text."""
        return self._data(without_secrets(data))

    def _data(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {self.text(str(key)): self._data(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self._data(item) for item in data]
        return self.text(data) if isinstance(data, str) else data


def _secrets(data: Any, variable: str | None = None) -> Iterator[str]:
    """Secret values of variables, and what is secret in URLs."""
    if isinstance(data, dict):
        named = data.get("name")
        for key, value in data.items():
            if key == "env" and isinstance(value, dict):
                for name, text in value.items():
                    yield from _secrets(text, str(name))
            else:
                yield from _secrets(value, named if key == "value" and isinstance(named, str) else None)
    elif isinstance(data, list):
        for item in data:
            yield from _secrets(item)
    elif isinstance(data, str):
        if variable is not None and is_secret(variable, data):
            yield data
        for url in _URL.findall(data):
            yield from _of_url(url)


def _of_url(url: str) -> Iterator[str]:
    """The password, or the user where there is none, and values of the query that are or may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if secret := password or user:
        yield from {secret, unquote(secret)}
    for parameter in parts.query.split("&"):
        key, _, value = parameter.partition("=")
        if is_secret_name(key) or (parts.scheme.lower() in ("http", "https") and len(value) >= _SHORTEST_UNNAMED):
            yield from {value, unquote(value)}
