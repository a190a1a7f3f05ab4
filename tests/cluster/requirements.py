"""What the machine must be."""

import os
import sys

from cluster.failure import ClusterError


def unsuitable() -> str | None:
    """Why no cluster can run on this machine, in a sentence; None if one can."""
    if sys.platform != "linux":
        return f"the cluster runs on Linux, and this is {sys.platform}: use kind (make cluster KIND=1)"
    if os.geteuid() != 0:
        return (
            "the cluster needs root, for it makes network and mount namespaces: use sudo, or kind (make cluster KIND=1)"
        )
    return None


def check_machine() -> None:
    """ClusterError if no cluster can run on this machine."""
    if reason := unsuitable():
        raise ClusterError(reason)
