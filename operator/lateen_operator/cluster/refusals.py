"""What the API server says when it does not let something be done, as people read it: why, and what to do. Pure."""

import re

from lateen_operator.cluster.client import ApiError
from lateen_operator.observation import Blocked

RETRIED_WITHIN_SECONDS = 10.0
"""A call that was refused is made again by then: what stands in its way may be gone at any time, and nobody tells."""

_TRANSIENT_TRIES = 3
"""Failures in a row after which an error that is mostly over by itself is told."""

_LONGEST_WORDS = 600
"""Characters: an event's message may have 1024."""

_KNOWN = (
    ("exceeded quota", "QuotaExceeded", "Have the ResourceQuota raised, or free a part of it"),
    ("failed quota", "QuotaExceeded", "Set what the ResourceQuota asks for, or have it changed"),
    (
        "violates PodSecurity",
        "PodSecurity",
        "Take out of spec.compute what it names, or have the label pod-security.kubernetes.io/enforce of the "
        "namespace changed",
    ),
    ("failed calling webhook", "WebhookFailed", "See to it that the pods behind this webhook run"),
    ("admission webhook", "WebhookDenied", "Change what it names, or have the webhook changed"),
    ("ValidatingAdmissionPolicy", "PolicyDenied", "Change what it names, or have the policy changed"),
    ("in API group", "NoRight", "Give the operator's service account this right (docs/operator.md, Rights)"),
    ("serviceaccount", "NoServiceAccount", "Create the service account, or correct spec.compute.serviceAccount"),
    ("PriorityClass", "NoPriorityClass", "Create the PriorityClass, or correct spec.compute.priorityClass"),
    ("being terminated", "NamespaceTerminating", "Apply the job in another namespace"),
    ("is invalid", "Invalid", "Correct the field of spec.compute that it comes from, spec.compute.podTemplate first"),
)
"""Part of the server's words, reason, what to do."""

_QUIET = frozenset({400, 403, 413, 422})
"""HTTP statuses that are a no to this very request."""


class NameTaken(Exception):
    """An object of the name that an attempt needs exists and belongs to something else."""


def blocked_by(error: Exception, failures: int) -> Blocked | None:
    """What a call's error means for the job; None: nothing to tell (yet).

    Args:
        error: that the call raised.
        failures: rounds before this one that failed, without one between them that did not.
    """
    if isinstance(error, NameTaken):
        return Blocked("NameTaken", str(error), "Delete or rename it")
    if not isinstance(error, ApiError) or error.status in (0, 409):
        # Without an answer nothing can be written either; a conflict is over with the next look.
        return None
    if error.status not in _QUIET and failures < _TRANSIENT_TRIES:
        return None
    return blocked(error.message, f"the operator's {error.call}")


def blocked(words: str, who: str) -> Blocked:
    """A refusal in the API server's own words.

    Args:
        words: the server's.
        who: was refused: `the Job controller's pods`.
    """
    reason, remedy = next(
        ((reason, remedy) for part, reason, remedy in _KNOWN if part.lower() in words.lower()),
        ("Refused", "Remove the cause that it names"),
    )
    said = re.sub(r"\s+", " ", words).strip().rstrip(".")
    if len(said) > _LONGEST_WORDS:
        said = f"{said[: _LONGEST_WORDS - 2]} …"
    return Blocked(reason, f"the API server refuses {who}: {said}", remedy)
