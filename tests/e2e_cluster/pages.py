"""The commands of a page, run as they stand in a copy of what a checkout has."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.cluster import Cluster
from cluster.commands import output_of
from cluster.parts import program

ROOT = Path(__file__).parents[2]
EXAMPLE = Path("docs/examples/nano-kubernetes.yaml")


@dataclass
class Shell:
    """Runs what a page says, where its files are and with the tools that it names."""

    folder: Path
    cluster: Cluster

    def __call__(self, command: str, timeout: float = 300) -> str:
        tools = self.folder / "bin"
        path = f"{tools}:{os.environ['PATH']}"
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig), "PATH": path}
        return output_of("bash", "-euc", command, cwd=self.folder, environment=environment, timeout=timeout)


def checkout(folder: Path, cluster: Cluster) -> Shell:
    """A copy of charts and docs with a shorter example: 560 steps would take minutes."""
    (folder / "bin").mkdir()
    for name in ("helm", "kubectl"):
        (folder / "bin" / name).symlink_to(program(name))
    shutil.copytree(ROOT / "charts", folder / "charts")
    shutil.copytree(ROOT / "docs", folder / "docs")
    replace(folder / EXAMPLE, "numTrainSteps: 560", "numTrainSteps: 20")
    replace(folder / EXAMPLE, "stepsPerEval: 280", "stepsPerEval: 10")
    return Shell(folder, cluster)


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text that must be in the file."""
    text = file.read_text()
    assert old in text, f"{file} lacks {old!r}"
    file.write_text(text.replace(old, new))
