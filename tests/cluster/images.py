"""The images that pods in the cluster run: built by buildah from the project's own Dockerfiles, without a registry.

Buildah keeps every step as a layer, so a build after a change of the code redoes the small last layer only. Each image
lies in the cache as an OCI layout, from which nodes are given the layers that they do not have.
"""

import hashlib
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from cluster import debian
from cluster.base_image import BUILD_BASE, RUN_BASE, build_base
from cluster.buildah import buildah
from cluster.containerd import SANDBOX_IMAGE
from cluster.layout import TAG, Layout
from cluster.lock import one_after_another
from cluster.places import IMAGES

REPOSITORY = Path(__file__).parents[2]
BUSYBOX = Layout(IMAGES / "busybox", SANDBOX_IMAGE)
OPERATOR = Layout(IMAGES / "operator", "localhost/lateen-operator:dev")
TRAINER = Layout(IMAGES / "trainer", "localhost/lateen-trainer:dev")
_SHARED_INPUTS = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "crds/lateen_api",
    "images/requirements/sbom.txt",
    ".dockerignore",
)
"""Files and folders that both images are made of."""
_OWN_INPUTS = {
    "operator": ("images/operator.Dockerfile", "images/requirements/operator.txt", "operator/lateen_operator"),
    "trainer": ("images/trainer.Dockerfile", "images/requirements/trainer.txt", "trainer/lateen_trainer"),
}


def available_images() -> list[Layout]:
    """Those that have been built."""
    return [layout for layout in (BUSYBOX, OPERATOR, TRAINER) if layout.exists]


def build_busybox() -> Layout:
    """The image without which no pod starts."""
    if not BUSYBOX.exists:
        debian.install(debian.BUILDING)
        with tempfile.TemporaryDirectory() as context:
            shutil.copy(shutil.which("busybox") or "/bin/busybox", context)
            _build(BUSYBOX, Path(__file__).with_name("busybox.Dockerfile"), Path(context), {})
    return BUSYBOX


def build_operator(base: str | None = None) -> Layout:
    """The operator's image with the code as it is now, on the image `base` or, without, on Debian's packages."""
    return _build_ours(OPERATOR, base)


def build_trainer(base: str | None = None) -> Layout:
    """The trainer's image for CPU with the code as it is now, on the same."""
    return _build_ours(TRAINER, base)


def _build_ours(layout: Layout, base: str | None) -> Layout:
    with one_after_another(layout.folder.with_suffix(".lock")):
        return _build_if_changed(layout, base)


def _build_if_changed(layout: Layout, base: str | None) -> Layout:
    kind = layout.folder.name
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    arguments = {"BASE": base or RUN_BASE, "BUILD_BASE": base or BUILD_BASE, "VERSION": version}
    digest = _digest([*_SHARED_INPUTS, *_OWN_INPUTS[kind]], arguments)
    stamp = layout.folder / "inputs"
    if layout.exists and stamp.exists() and stamp.read_text() == digest:
        return layout
    debian.install(debian.BUILDING)
    if base is None:
        build_base()
    _build(layout, REPOSITORY / "images" / f"{kind}.Dockerfile", REPOSITORY, arguments)
    stamp.write_text(digest)
    return layout


def _build(layout: Layout, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
    """Build the image and write it into its layout."""
    print(f"cluster: building the image {layout.name}", flush=True)
    settings = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    trust = [f"--volume={path}:{path}:ro" for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    buildah(
        "bud", "--layers", "--network=host", *settings, *trust, f"--tag={layout.name}", f"--file={dockerfile}", context
    )
    layout.folder.mkdir(parents=True, exist_ok=True)
    (layout.folder / "inputs").unlink(missing_ok=True)
    buildah("push", layout.name, f"oci:{layout.folder}:{TAG}")
    layout.prune()


def _digest(paths: list[str], arguments: Mapping[str, str]) -> str:
    """Of the contents of these files and folders of the repository, and of the build's arguments."""
    digest = hashlib.sha256(repr(sorted(arguments.items())).encode())
    for path in paths:
        top = REPOSITORY / path
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = file.read_bytes()
                digest.update(f"\0{file.relative_to(REPOSITORY)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
