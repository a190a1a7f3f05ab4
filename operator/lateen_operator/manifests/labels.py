"""The syntax of labels. Kubernetes takes no others, and of those in a pod's template it says so only when a controller
creates the pod: so they are looked at before. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lateen_api.errors import JobError
from lateen_api.wording import show

LONGEST = 63
"""Characters of a value, and of a name after its slash."""

_TEXT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LONGEST_DOMAIN = 253
_EXPECTED = (
    f"expected up to {LONGEST} letters, digits, '-', '_' and '.', the first and the last of them a letter or a digit"
)


def check_labels(labels: Mapping[str, Any], where: str) -> Iterator[JobError]:
    """What in labels, or in a selector of them, Kubernetes would refuse."""
    for name, value in labels.items():
        yield from check_name(str(name), where)
        if isinstance(value, str):
            yield from check_value(value, f"{where}.{name}")


def check_name(name: str, where: str) -> Iterator[JobError]:
    """Is it the name of a label or an annotation?"""
    domain, slash, last = name.rpartition("/")
    is_domain = not slash or (len(domain) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(domain))
    if not (is_domain and len(last) <= LONGEST and _TEXT.fullmatch(last)):
        before = "with a DNS name and a slash before them or not"
        yield JobError(where, f"{show(name)} is no name of a label or annotation: {_EXPECTED}, {before}. Correct it.")


def check_value(value: str, where: str) -> Iterator[JobError]:
    """Is it the value of a label?"""
    if value and (len(value) > LONGEST or not _TEXT.fullmatch(value)):
        length = f" ({len(value)} characters)" if len(value) > LONGEST else ""
        yield JobError(where, f"{show(value)}{length} is no label's value: {_EXPECTED}. Correct it.")
