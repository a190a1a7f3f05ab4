"""Which cluster is there."""

from cluster.cluster import Cluster
from cluster.kind import InKind
from cluster.this_machine import OnThisMachine


def running_cluster() -> Cluster | None:
    """The cluster that was started on this machine and answers, of either kind."""
    return next((cluster for cluster in (OnThisMachine(), InKind()) if cluster.answers), None)
