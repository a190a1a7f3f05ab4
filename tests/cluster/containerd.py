"""A node's containerd: its configuration, and giving images to it."""

import json
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from subprocess import PIPE, Popen

from cluster.commands import output_of
from cluster.debian import NETWORK_PLUGINS
from cluster.failure import ClusterError
from cluster.layout import Image, Layout
from cluster.places import NodePlaces

SANDBOX_IMAGE = "localhost/lateen-busybox:dev"
"""Holds a pod's namespaces open; it only has to sleep."""

_CONFIGURATION = """\
version = 2
root = "{store}"
state = "/run/containerd"
disabled_plugins = [{unused}]

[debug]
  level = "warn"

[grpc]
  address = "/run/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{disk}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  # A node's containerd is not the machine's: it may not make others likelier victims than itself.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{disk}/network"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
_UNUSED = tuple(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs"))


def configure(node: NodePlaces) -> Path:
    """Write the configuration of containerd and of the pods' network; the file to start it with."""
    (node.disk / "network").mkdir(parents=True, exist_ok=True)
    node.unpacked.mkdir(parents=True, exist_ok=True)
    (node.disk / "network" / "pods.conflist").write_text(json.dumps(_network(node), indent=2))
    file = node.disk / "containerd.toml"
    file.write_text(
        _CONFIGURATION.format(
            disk=node.disk,
            store=node.unpacked,
            unused=", ".join(f'"{name}"' for name in _UNUSED),
            plugins=NETWORK_PLUGINS,
            sandbox_image=SANDBOX_IMAGE,
        )
    )
    return file


def _network(node: NodePlaces) -> dict[str, object]:
    # One cable for each pod and no bridge: all of a pod's traffic passes the node's routing, where kube-proxy sees it.
    addresses = {
        "type": "host-local",
        "subnet": str(node.pods),
        "dataDir": "/run/cni",
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": addresses}, ports]}


def forget_containers(node: NodePlaces) -> bool:
    """Leave only images in the store of a running containerd; whether there was anything else, of an earlier cluster.

    If so containerd has read of it, and must be started again before a kubelet speaks to it.
    """
    containers = _ctr(node, "containers", "ls", "--quiet").split()
    if containers:
        _ctr(node, "containers", "rm", *containers)
    leftovers = [node.unpacked / "io.containerd.grpc.v1.cri" / kind for kind in ("sandboxes", "containers")]
    for folder in filter(Path.exists, leftovers):
        shutil.rmtree(folder)
    return bool(containers)


def answers(node: NodePlaces) -> bool:
    """Whether the node's containerd takes commands."""
    try:
        _ctr(node, "version")
    except ClusterError:
        return False
    return True


def load(node: NodePlaces, layout: Layout) -> None:
    """Give the image in `layout` to `node`, sending only the blobs that it does not have. It must be running."""
    image = layout.image()
    known = _unpacked_images(node)
    if known.get(layout.name) == image.manifest.digest:
        return
    # What of it is unpacked must be kept by an image until the new one keeps it, or be gone: containerd collects what
    # nothing keeps at any time, in the midst of an import, which then misses a layer that it has just seen.
    former = f"{layout.name}-former"
    if layout.name in known:
        _ctr(node, "images", "tag", "--force", layout.name, former)
    else:
        _ctr(node, "images", "rm", "--sync", layout.name)
    _import(node, layout, image)
    if _unpacked_images(node).get(layout.name) != image.manifest.digest:
        raise ClusterError(f"{node.name} took image {layout.name} and did not unpack it")
    _ctr(node, "images", "rm", former)


def _unpacked_images(node: NodePlaces) -> dict[str, str]:
    """Digests of the manifests of images that are there as a whole, by name. An import that was interrupted leaves an
    image that is not unpacked, and that nothing can be started from."""
    rows = [line.split() for line in _ctr(node, "images", "check").splitlines()[1:]]
    return {row[0]: row[2] for row in rows if row[-1] == "true"}


def _import(node: NodePlaces, layout: Layout, image: Image) -> None:
    has = set(_ctr(node, "content", "ls", "--quiet").split())
    command = ("ctr", "--address", str(node.containerd_socket), "--namespace", "k8s.io", "images", "import", "-")
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            _add(archive, "oci-layout", layout.marker())
            _add(archive, "index.json", layout.index_for_import())
            # The image's own manifest and configuration go always: they are small, and lead to all else.
            for blob in image.blobs:
                if blob.digest not in has or blob in (image.manifest, image.configuration):
                    archive.add(layout.file(blob), arcname=Layout.path_in_archive(blob))
        process.stdin.close()
        said = process.stderr.read().decode()
        if process.wait() != 0:
            raise ClusterError(f"{node.name} did not take image {layout.name}: {said.strip()}")


def _ctr(node: NodePlaces, *arguments: str) -> str:
    return output_of("ctr", "--address", node.containerd_socket, "--namespace", "k8s.io", *arguments)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, BytesIO(content))
