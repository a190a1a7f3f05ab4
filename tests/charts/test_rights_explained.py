"""The chart gives the least rights, each of them explained, and runs one operator without rights on its machine."""

import re
from pathlib import Path

from charts.helm import MAY_BUILD_HELM, one, operator_container, template
from lateen_operator.settings import OperatorSettings

pytestmark = MAY_BUILD_HELM

DOCS = Path(__file__).parents[2] / "docs"
NAME = "lateen-lateen-system"


def given(*options: str) -> set[tuple[str, str]]:
    """(resource, verb) of the operator's role."""
    rules = one(template(*options), "ClusterRole", NAME)["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def explained() -> set[tuple[str, str]]:
    """(resource, verb) of the table in docs/operator.md. A row without resource goes on with the one above."""
    section = (DOCS / "operator.md").read_text().partition("## Rights")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in section.splitlines() if line.startswith("| ")]
    found, resource = set(), ""
    for name, verbs, why in rows[1:]:
        resource = name.strip("`") or resource
        assert why, f"{resource}: {verbs} is not explained"
        found |= {(resource, verb) for verb in re.split(", ", verbs)}
    return found


def test_every_right_is_explained_and_none_is_explained_that_is_not_given():
    assert explained() == given()


def test_without_network_policies_there_is_no_right_to_make_some():
    assert given() - given("--set=trainer.networkPolicies=false") == {("networkpolicies", "create")}


def test_no_right_is_given_to_all_of_something_nor_to_secrets():
    rules = [rule for of in template() if of["kind"].endswith("Role") for rule in of["rules"]]
    assert not [rule for rule in rules if "*" in str(rule) or "secrets" in rule["resources"]]


def test_one_operator_runs_at_a_time_without_rights_on_its_machine():
    spec = one(template(), "Deployment")["spec"]
    container = operator_container(template())
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["ports"] == [{"name": "http", "containerPort": OperatorSettings().server_port}]
