"""docs/kind.md from the installation on: the same commands on the cluster that needs no Docker."""

from collections.abc import Iterator
from pathlib import Path

import documented
import pytest
import yaml
from cluster.cluster import CRD, Cluster
from e2e_cluster.pages import Shell, checkout, replace

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

DEFINITION = "lmtrainingjobs.lateen.dev"
VOLUME = Path("docs/examples/kind-volume.yaml")


@pytest.fixture
def shell(cluster: Cluster, project_images: None, tmp_path: Path) -> Iterator[Shell]:
    """A checkout whose volume is the folder that this cluster's nodes share, without the definition."""
    cluster.kubectl("delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s")
    shell = checkout(tmp_path, cluster)
    [volume, _] = documented.examples(shell.folder / VOLUME)
    replace(shell.folder / VOLUME, volume["spec"]["hostPath"]["path"], str(cluster.shared_folder("nano")))
    yield shell
    shell("helm uninstall lateen -n lateen-system --wait --ignore-not-found")
    shell("kubectl delete namespace nano lateen-system --ignore-not-found --timeout=120s")
    shell("kubectl delete pv training --ignore-not-found --timeout=60s")
    # As the cluster has it from its start.
    cluster.kubectl("delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s")
    cluster.kubectl.install_definition(CRD)
    cluster.remove_shared_folder("nano")


def test_the_page_trains_the_example_by_its_own_commands(shell: Shell, cluster: Cluster):
    row = shell(documented.block("kind.md", "cat > values.yaml"), timeout=800)
    assert "Complete" in row
    status = cluster.kubectl.get("lmtj", "nano", "-n", "nano")["status"]
    example = yaml.safe_load((shell.folder / "docs/examples/nano-kubernetes.yaml").read_text())
    assert status["progress"]["step"] == example["spec"]["trainer"]["numTrainSteps"] == 20
    assert status["attemptCount"] == 1
    metrics = cluster.shared / "nano" / "nano" / "metrics.jsonl"
    assert len([line for line in metrics.read_text().splitlines() if '"loss"' in line]) == 20
