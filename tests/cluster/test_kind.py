"""kind's configuration and docs/kind.md, as far as they can be tried without Docker."""

import os
import shutil
import subprocess
from pathlib import Path

import documented
import pytest
import yaml

from cluster.kind import CONFIGURATION, NAME
from cluster.parts import module_version, part_of, program

pytestmark = pytest.mark.timeout(1800)
"""The first test may have to build kind."""

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kind() -> Path:
    if not (part_of("kind").built / "kind").exists() and shutil.which("go") is None:
        pytest.skip("kind is built from its Go module, and Go is not installed")
    return program("kind")


def refusal(kind: Path, configuration: Path, tmp_path: Path) -> str:
    """Why kind makes no cluster of the configuration: it has no Docker here, whatever the machine has."""
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock", "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    command = [kind, "create", "cluster", f"--config={configuration}", f"--kubeconfig={tmp_path}/kubeconfig"]
    done = subprocess.run(command, env={**os.environ, **nowhere}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def test_kind_reads_the_configuration(kind: Path, tmp_path: Path):
    message = refusal(kind, CONFIGURATION, tmp_path)
    assert "unable to decode config" not in message
    assert "docker" in message


def test_kind_would_refuse_a_field_that_it_does_not_know(kind: Path, tmp_path: Path):
    wrong = tmp_path / "kind.yaml"
    wrong.write_text(CONFIGURATION.read_text().replace("extraMounts", "extraMount"))
    assert "field extraMount not found" in refusal(kind, wrong, tmp_path)


def test_the_page_uses_the_cluster_of_the_configuration():
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    commands = documented.block("kind.md", "mkdir")
    assert configuration["name"] == NAME
    assert f"--config {CONFIGURATION.relative_to(ROOT)}" in commands and f"--name {NAME}" in commands
    shared = {mount["containerPath"] for node in configuration["nodes"] for mount in node.get("extraMounts", ())}
    [volume, claim] = documented.examples(ROOT / "docs" / "examples" / "kind-volume.yaml")
    assert {volume["spec"]["hostPath"]["path"].rpartition("/")[0]} == shared
    assert f"mkdir -p -m 777 {volume['spec']['hostPath']['path']}\n" in commands
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]


def test_the_page_installs_the_jobset_that_is_tested():
    version = module_version("sigs.k8s.io/jobset")
    assert f"/jobset/releases/download/{version}/manifests.yaml" in documented.block("kind.md", "mkdir")


def test_the_page_names_the_version_of_kind_that_read_its_configuration(kind: Path):
    found = subprocess.run([kind, "version"], capture_output=True, text=True, check=True).stdout
    assert "kind v0.33" in found
    assert "[kind](https://kind.sigs.k8s.io) 0.33" in (ROOT / "docs" / "kind.md").read_text()
