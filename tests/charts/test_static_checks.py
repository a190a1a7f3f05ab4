"""checkov on what the chart and the operator create: docs/security-findings.md explains each finding that stays."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts.helm import MAY_BUILD_HELM, template
from lateen_operator.manifests.capacity_probe import capacity_probe
from lateen_operator.manifests.job_set import job_set
from stored_jobs import A3_MEGA, GPU, NANO, SMALL, TPU, attempt

pytestmark = MAY_BUILD_HELM

PAGE = Path(__file__).parents[2] / "docs" / "security-findings.md"
CHECKOV = os.environ.get("LATEEN_CHECKOV")
VALUES = {
    "priorityClasses": [{"name": "research", "value": 1000}],
    "networkPolicy": {"egress": {"enabled": True}},
}


def explained() -> set[str]:
    """The checks in the first column of the page's table."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `CKV")]
    return {check for row in rows for check in re.findall(r"`(CKV2?_K8S_\d+)`", row)}


def pod(name: str, *job: Any) -> dict[str, Any]:
    """A host's pod: the checker knows no JobSets."""
    [workers] = job_set(attempt(*job))["spec"]["replicatedJobs"]
    host = workers["template"]["spec"]["template"]
    metadata = {"name": name, "namespace": "research", **host["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": host["spec"]}


def objects() -> list[dict[str, Any]]:
    return [
        *(one for one in template(values=VALUES) if one["kind"] != "CustomResourceDefinition"),
        pod("trainer-cpu", NANO),
        pod("trainer-gpu", SMALL, GPU),
        pod("trainer-tpu", SMALL, TPU),
        pod("trainer-tcpxo", SMALL, A3_MEGA),
        capacity_probe(attempt(NANO, hosts=4), 1),
    ]


def test_the_page_explains_findings():
    assert len(explained()) > 10


@pytest.mark.skipif(CHECKOV is None, reason="LATEEN_CHECKOV names no checkov (pip install it, in a venv of its own)")
def test_no_finding_is_unexplained_and_no_explanation_is_left_over(tmp_path: Path):
    manifests = tmp_path / "objects.yaml"
    manifests.write_text(yaml.safe_dump_all(objects()))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(CHECKOV), "-f", manifests, "--framework", "kubernetes", "--skip-download", "--quiet", "-o", "json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    found = {finding["check_id"] for finding in report["results"]["failed_checks"]}
    assert found == explained()
