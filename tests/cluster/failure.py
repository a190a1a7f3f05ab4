"""The one exception of the cluster."""


class ClusterError(Exception):
    """Something on this machine keeps the cluster from working; the message says what, and what to do."""
