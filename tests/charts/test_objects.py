"""What the chart renders: for any names, for one namespace or all, for each way of scraping."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts.helm import ALL_SCRAPING, MAY_BUILD_HELM, Object, Refused, one, operator_container, rendered, template
from click.testing import CliRunner
from lateen_operator.cluster.cli import operator
from lateen_operator.settings import OperatorSettings

pytestmark = MAY_BUILD_HELM

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "ClusterPodMonitoring"}
JOBSET = "--api-versions=jobset.x-k8s.io/v1alpha2/JobSet"
LIVE = "--api-versions=apps/v1/Deployment"
"""What Helm knows only of a cluster that it can ask."""
EVERYTHING: dict[str, Any] = {
    "metrics": ALL_SCRAPING,
    "priorityClasses": [{"name": "research", "value": 1000}],
    "networkPolicy": {"egress": {"enabled": True}},
}


def names(objects: list[Object]) -> list[tuple[str, str, str]]:
    """Kind, namespace and name of each."""
    return [(of["kind"], of["metadata"].get("namespace", ""), of["metadata"]["name"]) for of in objects]


def settings_of(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> OperatorSettings:
    """The settings as `lateen operator` reads them from the Deployment's arguments."""
    read: dict[str, Any] = {}

    async def note(settings: OperatorSettings) -> None:
        read["settings"] = settings

    monkeypatch.setattr("lateen_operator.cluster.operator.run_operator", note)
    monkeypatch.setattr("lateen_operator.cluster.logs.log_to_stderr", lambda *_, **__: None)
    name, *arguments = operator_container(objects)["args"]
    assert name == "operator"
    result = CliRunner().invoke(operator, arguments)
    assert result.exit_code == 0, result.output
    return read["settings"]


@pytest.mark.parametrize("release", ["lateen", "a", "my-lateen", "r" * 53, "1.2"])
@pytest.mark.parametrize("namespaces", [[], ["one", "two"]], ids=["all", "two"])
def test_any_release_name_gives_valid_names_each_once(release: str, namespaces: list[str]):
    objects = template(values={**EVERYTHING, "namespaces": namespaces}, release=release, namespace="team-a")
    found = names(objects)
    assert len(set(found)) == len(found)
    for kind, _, name in found:
        allowed = r"[a-z]([-a-z0-9]*[a-z0-9])?" if kind == "Service" else r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"
        assert re.fullmatch(allowed, name) and len(name) <= (63 if kind in ("Service", "Pod") else 253), (kind, name)


def test_releases_of_one_name_in_two_namespaces_share_no_object():
    """Nor do two of different names in one; the CRD belongs to one of them."""
    rest = {"crds": {"install": False}, **EVERYTHING}
    one_of_all, two, three = (
        set(names(template(values={**values, "namespaces": [own]}, release=release, namespace=namespace)))
        for values, own, release, namespace in (
            (EVERYTHING, "team-a", "lateen", "a"),
            ({**rest, "fullnameOverride": "second"}, "team-b", "lateen", "b"),
            (rest, "team-c", "other", "a"),
        )
    )
    assert not one_of_all & two and not one_of_all & three and not two & three


def test_cluster_scoped_objects_are_named_after_release_and_namespace():
    objects = template(values={"rbac": {"aggregate": True}}, release="blue", namespace="team-a")
    assert {name for kind, _, name in names(objects) if kind in CLUSTER_SCOPED} == {
        "blue-lateen-team-a",
        "blue-lateen-team-a-edit",
        "blue-lateen-team-a-view",
    }


def test_with_namespaces_there_are_no_rights_elsewhere(monkeypatch: pytest.MonkeyPatch):
    objects = template(values={"namespaces": ["one", "two"], "rbac": {"aggregate": False}})
    assert not [of for of in objects if of["kind"].startswith("Cluster")]
    assert {(kind, namespace) for kind, namespace, _ in names(objects) if kind.startswith("Role")} == {
        (kind, namespace) for kind in ("Role", "RoleBinding") for namespace in ("one", "two")
    }
    everywhere = one(template(), "ClusterRole", "lateen-lateen-system")["rules"]
    assert all(of["rules"] == everywhere for of in objects if of["kind"] == "Role")
    assert settings_of(objects, monkeypatch).namespaces == ("one", "two")


@pytest.mark.parametrize("release", ["lateen", "blue"])
def test_jobs_let_this_operator_and_the_monitoring_in(release: str, monkeypatch: pytest.MonkeyPatch):
    values = {"metrics": {"namespaces": ["prometheus", "gmp-system"]}, "trainer": {"metricsPort": 9090}}
    objects = template(values=values, release=release, namespace="ops")
    settings = settings_of(objects, monkeypatch)
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert settings.operator_namespace == one(objects, "Deployment")["metadata"]["namespace"] == "ops"
    assert dict(settings.operator_labels) == labels == one(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert (settings.monitoring_namespaces, settings.metrics_port) == (("prometheus", "gmp-system"), 9090)


def test_settings_of_the_values(monkeypatch: pytest.MonkeyPatch):
    values = {
        "trainer": {
            "image": {"repository": "example.com/t", "tag": "7-{platform}", "pullPolicy": "Always"},
            "fixedUser": False,
            "networkPolicies": False,
        },
        "operator": {"workers": 3, "pollSeconds": 0.5, "extraArgs": ["--verbose"]},
    }
    settings = settings_of(template(values=values), monkeypatch)
    assert settings.image_for("gpu") == "example.com/t:7-cuda"
    assert (settings.image_pull_policy, settings.fixed_user, settings.network_policies) == ("Always", False, False)
    assert (settings.workers, settings.poll_seconds) == (3, 0.5)


def test_settings_are_the_operators_own_unless_said(monkeypatch: pytest.MonkeyPatch):
    instance = {"app.kubernetes.io/instance": "lateen"}
    own = OperatorSettings()
    expected = own.model_copy(update={"operator_labels": {**own.operator_labels, **instance}})
    assert settings_of(template(), monkeypatch) == expected


def test_the_definition_stays_when_the_release_goes_and_is_the_models_own():
    crd = one(template(), "CustomResourceDefinition")
    own = yaml.safe_load((Path(__file__).parents[2] / "crds" / "lmtrainingjobs.yaml").read_text())
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert {**crd, "metadata": {"name": crd["metadata"]["name"]}} == own
    assert "annotations" not in one(template("--set=crds.keep=false"), "CustomResourceDefinition")["metadata"]
    assert "CustomResourceDefinition" not in {of["kind"] for of in template("--set=crds.install=false")}


def test_a_cluster_without_jobset_is_refused():
    with pytest.raises(Refused, match=r"The cluster does not serve JobSets .*Install it first"):
        rendered(LIVE)
    assert template(LIVE, JOBSET)
    assert template(LIVE, "--set=jobset.check=false")


def test_an_old_kubernetes_is_refused():
    with pytest.raises(Refused, match=r"requires kubeVersion: >=1.31.0-0"):
        rendered("--kube-version=1.30.9")
    assert template("--kube-version=v1.31.4-gke.1000")


def test_user_ids_can_be_left_to_the_cluster():
    """As OpenShift wants it: nothing in the chart names an id."""
    objects = template(values={"podSecurityContext": {"runAsUser": None, "runAsGroup": None}})
    assert not re.search(
        r"runAs(User|Group)|fsGroup", json.dumps([o for o in objects if o["kind"] in ("Pod", "Deployment")])
    )
    for of in (one(objects, "Deployment")["spec"]["template"]["spec"], one(objects, "Pod")["spec"]):
        assert of["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.mark.parametrize("way", ["serviceMonitor", "podMonitor", "gke", "annotations"])
def test_each_way_of_scraping_is_chosen_alone(way: str):
    plain = set(names(template()))
    objects = template(values={"metrics": {way: {"enabled": True}}})
    added = {kind for kind, *_ in set(names(objects)) - plain}
    expected = {
        "serviceMonitor": {"ServiceMonitor"},
        "podMonitor": {"PodMonitor"},
        "gke": {"PodMonitoring", "ClusterPodMonitoring"},
        "annotations": set(),
    }
    assert added == expected[way]
    annotations = one(objects, "Deployment")["spec"]["template"]["metadata"].get("annotations", {})
    assert ("prometheus.io/scrape" in annotations) == (way == "annotations")


def test_scraping_finds_what_is_there():
    """Labels and ports of Service, pods and trainers' pods, as the operator makes them."""
    objects = template(values={"metrics": ALL_SCRAPING, "namespaces": ["one"]}, release="blue")
    pod = one(objects, "Deployment")["spec"]["template"]
    service, monitor = one(objects, "Service"), one(objects, "ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == pod["spec"]["containers"][0]["ports"][0]["name"]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(OperatorSettings().server_port)
    trainers = [one(objects, "PodMonitor"), one(objects, "PodMonitoring", "blue-lateen-lateen-system-trainers")]
    golden = Path(__file__).parents[1] / "operator" / "manifests" / "golden" / "job-set-cpu.yaml"
    [job] = yaml.safe_load(golden.read_text())["spec"]["replicatedJobs"]
    template_of_trainers = job["template"]["spec"]["template"]
    for of in trainers:
        [expression] = of["spec"]["selector"]["matchExpressions"]
        assert expression["operator"] == "Exists" and expression["key"] in template_of_trainers["metadata"]["labels"]
        [endpoint] = of["spec"].get("endpoints") or of["spec"]["podMetricsEndpoints"]
        [trainer] = template_of_trainers["spec"]["containers"]
        assert endpoint["port"] in [port["name"] for port in trainer["ports"]]


def test_dashboards_and_alerts_of_the_chart_are_rendered_as_they_are(bare_chart: Path):
    dashboard, rules = {"title": "{{ job }}"}, {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0"}]}]}
    for folder, name, content in (("dashboards", "one_job.json", dashboard), ("alerts", "operator.yaml", rules)):
        (bare_chart / folder).mkdir()
        (bare_chart / folder / name).write_text(json.dumps(content))
    values = {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "lateen"}}, "alerts": {"enabled": True}}
    objects = template(values=values, chart=bare_chart)
    config_map = one(objects, "ConfigMap", "lateen-dashboard-one-job")
    assert json.loads(config_map["data"]["one_job.json"]) == dashboard
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert one(objects, "PrometheusRule", "lateen-operator")["spec"] == rules


def test_labels_of_the_user_do_not_hide_the_charts_own():
    wanted = {"team": "nlp", "app.kubernetes.io/name": "mine"}
    objects = template(values={"commonLabels": wanted, "podLabels": wanted})
    pod = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert (pod["team"], pod["app.kubernetes.io/name"]) == ("nlp", "lateen-operator")
    assert one(objects, "Service")["metadata"]["labels"]["team"] == "nlp"


def test_priority_classes_are_the_releases_own():
    classes = [{"name": "research", "value": 1000, "preemptionPolicy": "Never"}]
    found = one(template(values={"priorityClasses": classes}, release="blue"), "PriorityClass")
    assert (found["metadata"]["name"], found["value"], found["preemptionPolicy"]) == (
        "blue-lateen-research", 1000, "Never",
    )  # fmt: skip
