"""The cluster's own tests use the fixtures that they offer to others."""

from cluster.fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]
