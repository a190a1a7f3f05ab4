"""Secrets in what is written down or shown: passwords and signatures in URLs, values of variables.

A job may name a source as `https://user:password@host/a.jsonl?sig=...`. The process that reads the file needs the
whole URL; logs, ledgers, results and messages do not, and are often copied to where more people can read them.
"""

import re
from typing import Any

MASK = "***"

_URL = re.compile(r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>`]+)")
_SENTENCE_END = ".,;:)]}"
"""What may stand directly behind a URL in a sentence and is not part of it."""
_PARAMETER = re.compile(r"([?&](?P<name>[A-Za-z0-9_.%-]+)=)[^&#\s'\"<>`]*[^&#\s'\"<>`.,;:)\]}]")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORDS = frozenset({"key", "sig", "auth", "pass", "pwd", "credential", "credentials"})
_SECRET_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "signature", "apikey")
_PLACES = frozenset({"file", "path", "dir", "url", "endpoint"})
"""Last words of names whose values say where a secret is, and are none themselves."""
_NOT_SECRET = frozenset({"GOOGLE_APPLICATION_CREDENTIALS"})
_SIGNING = re.compile(r"x-(amz|goog)-.*|expires|awsaccesskeyid|googleaccessid|key-pair-id|policy|s[a-z]", re.IGNORECASE)
"""Parameters that come with a signature and change with it; two letters with an `s` first are Azure's."""


def masked(text: str) -> str:
    """The text with `***` for user names and passwords in URLs, for all values in the queries of http(s) URLs, and
    for values of parameters that are called like secrets in what is left of a URL. Masking twice changes nothing."""
    if "://" in text:
        text = _URL.sub(lambda match: _masked_url(match["scheme"], match["rest"]), text)
    return _PARAMETER.sub(lambda match: match[1] + MASK if is_secret_name(match["name"]) else match[0], text)


def _masked_url(scheme: str, rest: str) -> str:
    url = rest.rstrip(_SENTENCE_END)
    behind = rest[len(url) :]
    authority, slash, path = re.fullmatch(r"([^/?#]*)(/?)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]
    user, at, host = authority.rpartition("@")
    if user:
        authority = f"{MASK}{at}{host}"
    if scheme.lower() in ("http", "https"):
        path = re.sub(r"[?#].*", lambda match: _masked_query(match[0]), path, count=1, flags=re.DOTALL)
    return f"{scheme}://{authority}{slash}{path}{behind}"


def _masked_query(query: str) -> str:
    """`?a=***&b=***`: names stay, since they tell what kind of link it is."""

    def value_masked(match: re.Match[str]) -> str:
        name, equals, _ = match[2].partition("=")
        return match[1] + (f"{name}={MASK}" if equals else MASK)

    return re.sub(r"([?&#])([^?&#]+)", value_masked, query)


def is_secret_name(name: str) -> bool:
    """Is the value of a variable or parameter of this name a secret? `HF_TOKEN`, `WANDB_API_KEY`, `X-Amz-Signature`
    say so; `TOKENIZERS_PARALLELISM` and `SSL_KEY_FILE` do not."""
    words = [word.lower() for word in _WORD.findall(name)]
    if name in _NOT_SECRET or not words or words[-1] in _PLACES:
        return False
    return any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS) for word in words)


def is_secret(name: str, value: Any) -> bool:
    """Does a variable hold a secret in the clear? Not when it is empty, a switch, masked, or a reference `$(NAME)`."""
    if not isinstance(value, str) or value.lower() in ("", "0", "1", "true", "false", MASK):
        return False
    return is_secret_name(name) and not re.fullmatch(r"\$\(\w+\)", value)


def masked_assignment(text: str) -> str:
    """`FIELD=VALUE` of `--set` without its secrets: the value, if the field is called like one, or a variable in it is.
    What is to hold variables may be no YAML, so that nobody can say where a secret in it begins."""
    field, equals, value = text.partition("=")
    name = field.rpartition(".")[2]
    has_variables = name == "env" or re.search(r"\benv\b", value) is not None
    hides = has_variables and any(is_secret_name(word) for word in re.findall(r"\w+", value))
    return field + equals + (MASK if hides or is_secret(name, value) else masked(value))


def has_secret(url: str) -> bool:
    """Does a URL hold a password, or a parameter that is called like a secret?"""
    match = _URL.search(url)
    if match is None:
        return False
    authority = re.split(r"[/?#]", match["rest"], maxsplit=1)[0]
    user = authority.rpartition("@")[0]
    parameters = _PARAMETER.finditer(url)
    return (":" in user and user != MASK) or any(
        is_secret_name(found["name"]) and not found[0].endswith(f"={MASK}") for found in parameters
    )


def without_signature(name: str) -> str:
    """The last part of a URL without the parameters of its query that are renewed with a signature."""
    path, mark, query = name.partition("?")
    parameters = [(parameter.partition("=")[0], parameter) for parameter in query.split("&")]
    if not any(is_secret_name(key) for key, _ in parameters):
        return name
    kept = [text for key, text in parameters if not is_secret_name(key) and not _SIGNING.fullmatch(key)]
    return path + (mark + "&".join(kept) if any(kept) else "")


def without_secrets(data: Any) -> Any:
    """A copy of plain data (of `spec.compute`, say) with the values of secret variables masked, both in mappings
    `env: {NAME: value}` and in lists of Kubernetes' `{name: NAME, value: value}`."""
    if isinstance(data, list):
        return [without_secrets(item) for item in data]
    if not isinstance(data, dict):
        return data
    named = data.get("name")
    return {
        key: {name: _masked_value(name, text) for name, text in value.items()}
        if key == "env" and isinstance(value, dict)
        else _masked_value(named, value)
        if key == "value" and isinstance(named, str)
        else without_secrets(value)
        for key, value in data.items()
    }


def _masked_value(name: str, value: Any) -> Any:
    if is_secret(name, value):
        return MASK
    return masked(value) if isinstance(value, str) else without_secrets(value)
