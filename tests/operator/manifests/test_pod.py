"""The pod of a host, beyond what the golden manifests show."""

from typing import Any

import pytest
from lateen_operator.manifests.network_policy import network_policy
from lateen_operator.manifests.owner import Owner
from lateen_operator.manifests.pod import pod_template
from lateen_operator.settings import OperatorSettings
from stored_jobs import NANO, SETTINGS, attempt, body


def trainer(*overrides: str, settings: OperatorSettings = SETTINGS) -> dict[str, Any]:
    return pod_template(attempt(NANO, *overrides, settings=settings))["spec"]["containers"][0]


@pytest.mark.parametrize(("grace", "seconds"), [(15, 20), (120, 125)])
def test_kubelet_waits_a_little_longer_than_the_trainer_needs(grace: int, seconds: int):
    spec = pod_template(attempt(NANO, f"recovery.graceSeconds={grace}"))["spec"]
    assert spec["terminationGracePeriodSeconds"] == seconds


def test_image_and_its_policy_of_the_job():
    container = trainer("compute.image=mine:3", "compute.imagePullPolicy=Never")
    assert (container["image"], container["imagePullPolicy"]) == ("mine:3", "Never")


def test_image_and_its_policy_of_the_operator():
    container = trainer(settings=OperatorSettings(trainer_image="t:1", image_pull_policy="Always"))
    assert (container["image"], container["imagePullPolicy"]) == ("t:1", "Always")


def test_secrets_become_variables():
    assert trainer("compute.secrets=[hub, tracker]")["envFrom"] == [
        {"secretRef": {"name": "hub"}},
        {"secretRef": {"name": "tracker"}},
    ]


def test_service_account_is_used_without_its_token():
    spec = pod_template(attempt(NANO, "compute.serviceAccount=trainer"))["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("trainer", False)


def test_pod_without_wishes_asks_for_no_resources():
    assert "resources" not in trainer("compute.cpu=null", "compute.memory=null")


def test_metrics_are_open_to_all_when_the_api_server_fetches_them():
    """Its address is known to no selector."""
    policy = network_policy(attempt(NANO).owner, OperatorSettings(progress_via="proxy"))
    assert policy["spec"]["ingress"][1] == {"ports": [{"protocol": "TCP", "port": 8080}]}


def test_owner_knows_its_own():
    owner = Owner.of(body(NANO))
    own = {"metadata": {"ownerReferences": [owner.reference()]}}
    other = {"metadata": {"ownerReferences": [{**owner.reference(), "uid": "another"}]}}
    assert [owner.owns(child) for child in (own, other, {"metadata": {}})] == [True, False, False]


def test_user_ids_are_left_to_the_cluster_where_it_assigns_them():
    """Nothing else is relaxed: the pod still may not run as root."""
    fixed, free = (
        pod_template(attempt(NANO, settings=SETTINGS.model_copy(update={"fixed_user": fixed})))["spec"][
            "securityContext"
        ]
        for fixed in (True, False)
    )
    assert (fixed["runAsUser"], fixed["runAsGroup"], fixed["fsGroup"]) == (1000, 1000, 1000)
    assert {name: value for name, value in fixed.items() if name not in ("runAsUser", "runAsGroup", "fsGroup")} == free
    assert free["runAsNonRoot"]
