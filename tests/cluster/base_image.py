"""Base images with Debian's Python, made from its packages: what a registry's Python image is elsewhere."""

import hashlib
import tempfile
from pathlib import Path

from cluster.buildah import buildah, exists
from cluster.commands import output_of

SUITE = "bookworm"
RUN_PACKAGES = ("ca-certificates", "libstdc++6", "python3")
BUILD_PACKAGES = (*RUN_PACKAGES, "python3-pip", "python3-venv")


def _name(packages: tuple[str, ...]) -> str:
    """The image of these packages; another for others."""
    return f"localhost/lateen-base:{hashlib.sha256(' '.join((SUITE, *packages)).encode()).hexdigest()[:12]}"


RUN_BASE = _name(RUN_PACKAGES)
BUILD_BASE = _name(BUILD_PACKAGES)
_UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def build_base() -> None:
    """Make those of both bases that buildah does not have yet: a minute or two each."""
    for name, packages in ((RUN_BASE, RUN_PACKAGES), (BUILD_BASE, BUILD_PACKAGES)):
        if not exists(name):
            print(f"building {name} from Debian's {', '.join(packages)}", flush=True)
            _build(name, packages)


def _build(name: str, packages: tuple[str, ...]) -> None:
    unread = [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNREAD]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root.tar"
        output_of("mmdebstrap", "--variant=essential", f"--include={','.join(packages)}", *unread, SUITE, root)
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
        buildah("bud", f"--tag={name}", f"--file={dockerfile}", folder)
