"""The programs of the cluster, built from their Go modules and kept until a version changes.

Each folder in `parts/` is a Go module whose `tool` directives name the programs and whose go.sum fixes every source.
"""

import hashlib
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import output_of
from cluster.failure import ClusterError
from cluster.lock import one_after_another
from cluster.places import PROGRAMS

MODULES = Path(__file__).parent / "parts"
KUBERNETES = "k8s.io/kubernetes"


@dataclass(frozen=True)
class Part:
    """A Go module in `parts/` and the packages of its programs, each under the name that the program gets."""

    folder: str
    programs: dict[str, str]
    optional: bool = False
    """Not needed to start the cluster: built when it is first asked for."""

    @property
    def module(self) -> Path:
        return MODULES / self.folder

    @property
    def built(self) -> Path:
        """Where its programs lie; another place for other versions."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.module / name).read_bytes())
        return PROGRAMS / f"{self.folder}-{digest.hexdigest()[:16]}"


PARTS = (
    Part(
        "kubernetes",
        {
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
            "kubelet": "k8s.io/kubernetes/cmd/kubelet",
            "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
            "kubectl": "k8s.io/kubernetes/cmd/kubectl",
            "jobset": "sigs.k8s.io/jobset",
            "kwok": "sigs.k8s.io/kwok/cmd/kwok",
        },
    ),
    Part("coredns", {"coredns": "github.com/coredns/coredns"}),
    Part("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
    Part("gcs", {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"}, optional=True),
    Part("kind", {"kind": "sigs.k8s.io/kind"}, optional=True),
    Part("kueue", {"kueue": "sigs.k8s.io/kueue/cmd/kueue"}, optional=True),
)


def part_of(name: str) -> Part:
    """The part that holds the program called `name`; ClusterError if none does."""
    part = next((part for part in PARTS if name in part.programs), None)
    if part is None:
        known = ", ".join(name for part in PARTS for name in part.programs)
        raise ClusterError(f"no part of the cluster holds a program called {name!r}; there are {known}")
    return part


def program(name: str, progress: str = "") -> Path:
    """The program called `name`, built now if it has not been: minutes the first time, nothing after that.

    Args:
        name: one of those in `PARTS`.
        progress: how far the caller is, for people.
    """
    part = part_of(name)
    built = part.built / name
    if not built.exists():
        # Two builds of a program at once would do the work twice.
        with one_after_another(part.built / f"{name}.lock"):
            if not built.exists():
                print(f"cluster: building {name}{progress}", file=sys.stderr, flush=True)
                started = time.monotonic()
                _build(part, name)
                print(f"cluster: {name} took {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return built


def build_all() -> None:
    """Build whatever the cluster needs to start, and say how far it is."""
    names = [name for part in PARTS if not part.optional for name in part.programs]
    for number, name in enumerate(names, start=1):
        program(name, f" ({number} of {len(names)} programs)")


def module_folder(module: str, of: str = "etcd") -> Path:
    """Where the source of a module lies, and with it the manifests that it ships.

    Args:
        module: the path of a Go module.
        of: a program of the part that fixes the module's version; the Kubernetes part, if not given.
    """
    part = part_of(of)
    # A folder in vendor mode or a module that was never downloaded prints nothing.
    folder = _go("list", "-m", "-f", "{{.Dir}}", module, part=part).strip()
    if not folder:
        _go("mod", "download", module, part=part)
        folder = _go("list", "-m", "-f", "{{.Dir}}", module, part=part).strip()
    return Path(folder)


def module_version(module: str) -> str:
    """The version of a module of the Kubernetes part, as v1.36.3."""
    return _go("list", "-m", "-f", "{{.Version}}", module, part=PARTS[0]).strip()


def _build(part: Part, name: str) -> None:
    # One that was interrupted leaves it behind, and the next one replaces it.
    unfinished = part.built / f"{name}.unfinished"
    _go(
        *("build", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s", "-w", *_version_flags(part)])),
        *("-o", str(unfinished), part.programs[name]),
        part=part,
    )
    unfinished.replace(part.built / name)


def _version_flags(part: Part) -> list[str]:
    """Tell Kubernetes its version: without, it calls itself v0.0.0 and clients misjudge what it can do."""
    if part.folder != "kubernetes":
        return []
    version = module_version(KUBERNETES)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    package = "k8s.io/component-base/version"
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return [f"-X {package}.{name}={value}" for name, value in values.items()]


def _go(*arguments: str, part: Part) -> str:
    if shutil.which("go") is None:
        raise ClusterError("Go is not installed; the cluster is built from Go modules: install Go 1.26 or newer")
    return output_of(
        *("go", *arguments), cwd=part.module, environment={"CGO_ENABLED": "0", "GOWORK": "off"}, timeout=None
    )
