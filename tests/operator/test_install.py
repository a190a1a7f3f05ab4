"""docs/examples/operator.yaml: the least rights, each of them explained, and settings that fit the operator's own."""

import re
from pathlib import Path
from typing import Any

import yaml
from lateen_operator.settings import OperatorSettings

DOCS = Path(__file__).parents[2] / "docs"
OBJECTS = list(yaml.safe_load_all((DOCS / "examples" / "operator.yaml").read_text()))


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [of for of in OBJECTS if (of["kind"], of["metadata"]["name"]) == (kind, name)]
    return found


def given() -> set[tuple[str, str]]:
    """(resource, verb) of the operator's role."""
    rules = one("ClusterRole", "lateen-operator")["rules"]
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


def test_no_right_is_given_to_all_of_something():
    assert not [rule for of in OBJECTS if of["kind"] == "ClusterRole" for rule in of["rules"] if "*" in str(rule)]


def test_network_policies_let_this_operator_in():
    deployment, defaults = one("Deployment", "lateen-operator"), OperatorSettings()
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["metadata"]["namespace"] == defaults.operator_namespace
    assert labels == defaults.operator_labels


def test_one_operator_runs_at_a_time_without_rights_on_its_machine():
    spec = one("Deployment", "lateen-operator")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["ports"] == [{"name": "http", "containerPort": OperatorSettings().server_port}]
