"""buildah, without a daemon and without user namespaces."""

from pathlib import Path

from cluster.commands import output_of
from cluster.failure import ClusterError


def buildah(*arguments: str | Path) -> str:
    """What `buildah arguments` prints. ClusterError if it fails."""
    environment = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
    return output_of("buildah", *arguments, environment=environment, timeout=1800)


def exists(image: str) -> bool:
    """Whether buildah has the image."""
    try:
        buildah("inspect", "--type=image", image)
    except ClusterError:
        return False
    return True
