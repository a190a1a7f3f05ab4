"""The chart by the commands of docs/kubernetes.md, with the real Helm: from nothing to a trained model, and gone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documented
import pytest
import yaml
from charts.helm import template
from cluster.cluster import CRD, Cluster
from cluster.failure import ClusterError
from cluster.helm import CHART, Helm
from cluster.waiting import wait_until
from e2e_cluster.conftest import NAMESPACE, OUR_IMAGES, create_restricted
from e2e_cluster.pages import Shell, checkout
from e2e_cluster.training import SLOT, Training

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

DEFINITION = "lmtrainingjobs.lateen.dev"
VALUES = {
    "image": {"repository": "localhost/lateen-operator", "tag": "dev", "pullPolicy": "Never"},
    "trainer": {"image": {"repository": "localhost/lateen-trainer", "tag": "dev"}},
}
LEFT_OUT_BEFORE = "Attempts"
"""A column that the definition of the version before does not have."""


def commands(word: str) -> str:
    """The block of commands in docs/kubernetes.md that begins with `word`."""
    return documented.block("kubernetes.md", word)


@pytest.fixture(scope="module")
def shell(cluster: Cluster, project_images: None, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A checkout with the version before's chart, whose example is shortened."""
    shell = checkout(tmp_path_factory.mktemp("checkout"), cluster)
    (shell.folder / "values.yaml").write_text(yaml.safe_dump(VALUES))
    return shell


@pytest.fixture(scope="module")
def installed(shell: Shell, cluster: Cluster) -> Iterator[None]:
    """The version before, by the page's own commands, in a cluster that has never heard of lateen."""
    for node in cluster.nodes:
        cluster.set_capacity(node, SLOT, 1)
    cluster.kubectl("delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s")
    file = shell.folder / "charts" / "lateen" / "files" / "lmtrainingjobs.yaml"
    definition = yaml.safe_load(file.read_text())
    version = definition["spec"]["versions"][0]
    version["additionalPrinterColumns"] = [
        column for column in version["additionalPrinterColumns"] if column["name"] != LEFT_OUT_BEFORE
    ]
    file.write_text(yaml.safe_dump(definition, sort_keys=False))
    create_restricted(cluster, NAMESPACE)
    shell(commands("helm install"))
    yield
    releases = json.loads(shell("helm list --all-namespaces -o json"))
    for release in releases:
        shell(f"helm uninstall {release['name']} -n {release['namespace']} --wait")
    cluster.kubectl("delete", "namespace", NAMESPACE, timeout=60)
    # As the cluster has it from its start, without a release's name on it.
    cluster.kubectl("delete", "crd", DEFINITION, "--timeout=60s")
    cluster.kubectl.install_definition(CRD)


def columns(cluster: Cluster) -> set[str]:
    version = cluster.kubectl.get("crd", DEFINITION)["spec"]["versions"][0]
    return {column["name"] for column in version["additionalPrinterColumns"]}


def claim(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """The claim `training` of the page, on the folder that all nodes share."""
    folder = str(cluster.shared_folder(namespace))
    capacity = {"storage": "10Gi"}
    volume = {
        "capacity": capacity,
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": folder},
        "claimRef": {"namespace": namespace, "name": "training"},
        "storageClassName": "",
    }
    wanted = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": capacity}}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "training", "namespace": namespace},
            "spec": {**wanted, "volumeName": namespace},
        },
    ]


def test_the_example_is_trained_in_a_restricted_namespace(
    shell: Shell, installed: None, cluster: Cluster, namespace: str
):
    create_restricted(cluster, namespace)
    cluster.kubectl.apply(*claim(cluster, namespace))
    shell("kubectl apply -f docs/examples/nano-kubernetes.yaml -n " + namespace)
    training = Training(cluster, namespace, "nano", cluster.shared_folder(namespace))
    try:
        training.wait_for_state("Complete", seconds=400)
        assert training.status["progress"]["step"] == 20
        assert len(training.ledger) == 1
    finally:
        cluster.kubectl("delete", "pv", namespace, "--wait=false")


def test_an_upgrade_brings_the_new_definition_and_loses_no_attempt(
    shell: Shell, installed: None, cluster: Cluster, namespace: str
):
    training = Training.apply(
        cluster, namespace, cluster.shared_folder(namespace), "small", steps=100_000, compute={"hosts": 1}
    )
    training.wait_for_steps()
    assert LEFT_OUT_BEFORE not in columns(cluster)
    shutil.copytree(CHART, shell.folder / "charts" / "lateen", dirs_exist_ok=True)
    shell(
        "sed -i 's/^version: .*/version: 0.1.1/' charts/lateen/Chart.yaml; echo 'operator: {workers: 3}' >> values.yaml"
    )
    before = training.status["progress"]["step"]
    shell(commands("helm upgrade"))
    shell(commands("helm install").split("\n", 1)[1])
    assert LEFT_OUT_BEFORE in columns(cluster)
    [operator] = cluster.kubectl.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=lateen-operator")["items"]
    assert "--workers=3" in operator["spec"]["containers"][0]["args"]
    training.wait_for("progress by the new operator", lambda t: t.status["progress"]["step"] > before + 100, seconds=60)
    assert training.status["attemptCount"] == 1
    assert training.status["state"] == "Training"


def test_what_is_uninstalled_leaves_the_definition_and_the_jobs(
    shell: Shell, installed: None, cluster: Cluster, namespace: str
):
    training = Training.apply(
        cluster, namespace, cluster.shared_folder(namespace), "small", steps=100_000, compute={"hosts": 1}
    )
    training.wait_for_steps()
    kinds = shell("kubectl api-resources --verbs=list -o name").split()
    shell(commands("helm uninstall"))

    def left() -> set[str]:
        found = shell(
            f"kubectl get {','.join(kinds)} -A -l app.kubernetes.io/part-of=lateen -o name --ignore-not-found"
        )
        # Pods and what Kubernetes makes of a Service go a little later.
        return set(found.split())

    wait_until(lambda: left() == {f"customresourcedefinition.apiextensions.k8s.io/{DEFINITION}"}, "all to go", 60)
    assert not cluster.kubectl.get("secrets", "-n", NAMESPACE, "-l", "owner=helm")["items"]
    reached = max(training.losses())
    training.wait_for("training without an operator", lambda t: max(t.losses()) > reached + 50, seconds=60)
    shell(commands("helm install"))
    training.wait_for("the operator's word", lambda t: t.status["progress"]["step"] > reached + 50, seconds=60)
    assert training.status["attemptCount"] == 1


def test_two_releases_side_by_side_keep_to_their_namespaces(
    shell: Shell, installed: None, cluster: Cluster, namespace: str
):
    """The first release makes room; a job in the namespace of neither is left alone."""
    shell(commands("helm uninstall"))
    helm = Helm(cluster.kubeconfig)
    places = {name: f"{namespace}-{name}" for name in ("one", "two", "neither")}
    for place in places.values():
        cluster.kubectl("create", "namespace", place)
    try:
        for release in ("one", "two"):
            options = (f"--set=namespaces={{{places[release]}}}", "--set=crds.install=false,rbac.aggregate=false")
            helm("install", release, CHART, "-n", places[release], *OUR_IMAGES, *options, "--wait", "--timeout=120s")
        trainings = {
            name: Training.apply(cluster, place, cluster.shared_folder(place), "small", steps=50, compute={"hosts": 1})
            for name, place in places.items()
        }
        for name in ("one", "two"):
            trainings[name].wait_for_state("Complete")
            operators = "system:serviceaccount:" + places[name] + f":{name}-lateen"
            other = places["two" if name == "one" else "one"]
            assert not cluster.kubectl.succeeds("auth", "can-i", "list", "pods", "-n", other, "--as", operators)
            assert cluster.kubectl.succeeds("auth", "can-i", "list", "pods", "-n", places[name], "--as", operators)
        assert trainings["neither"].status == {}
        for release in ("one", "two"):
            assert "Phase:          Succeeded" in helm("test", release, "-n", places[release], timeout=120)
    finally:
        for release in ("one", "two"):
            helm("uninstall", release, "-n", places[release], "--ignore-not-found")
        cluster.kubectl("delete", "namespace", *places.values(), "--wait=false")
        for place in places.values():
            cluster.remove_shared_folder(place)


def test_a_cluster_that_does_not_serve_what_is_needed_is_refused(cluster: Cluster, tmp_path: Path):
    """JobSet cannot be taken away for a test, so the chart asks for a group that nobody serves."""
    shutil.copytree(CHART, tmp_path / "lateen")
    checks = tmp_path / "lateen" / "templates" / "checks.yaml"
    checks.write_text(checks.read_text().replace("jobset.x-k8s.io/v1alpha2/JobSet", "jobset.nowhere/v1/JobSet"))
    helm = Helm(cluster.kubeconfig)
    options = ("-n", "default", "--set=crds.install=false", "--dry-run=server")
    with pytest.raises(ClusterError, match="The cluster does not serve JobSets"):
        helm("install", "probe", tmp_path / "lateen", *options)
    assert "kind: Deployment" in helm("install", "probe", CHART, *options)


@pytest.mark.parametrize("release", ["lateen", "1.2"])
def test_the_api_server_takes_every_object_of_the_chart(cluster: Cluster, namespace: str, release: str):
    """But those of Prometheus's and Google's kinds, whose definitions are not here."""
    values = {
        "priorityClasses": [{"name": "research", "value": 1000, "preemptionPolicy": "Never"}],
        "networkPolicy": {"egress": {"enabled": True}},
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None},
    }
    objects = template(values=values, release=release, namespace=namespace)
    assert len(objects) == 11
    create_restricted(cluster, namespace)
    said = cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors", "-f", "-"),
        input=yaml.safe_dump_all(objects),
    )
    assert said.count("(server dry run)") == len(objects)
