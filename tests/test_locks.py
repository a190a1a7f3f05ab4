"""The locked dependencies: every image has its lock, and all locks hold the same versions."""

import re
import tomllib
from pathlib import Path

import pytest
from locks import LOCKS, locked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "dev": ("operator", "trainer", "test", "bench", "docs"),
    "operator": ("operator",),
    "trainer": ("trainer",),
    "trainer-cuda": ("trainer", "cuda"),
    "trainer-tpu": ("trainer", "tpu"),
    "sbom": ("sbom",),
}
# What jax's own extras of these names install besides jax.
DEVICE_PACKAGES = {
    "trainer-cuda": ("jax-cuda13-plugin", "jax-cuda13-pjrt", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"),
    "trainer-tpu": ("libtpu",),
}


def test_the_trainers_image_has_a_lock_for_every_accelerator():
    assert set(EXTRAS) == {path.stem for path in LOCKS.glob("*.txt")}


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_covers_its_extras(name: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS[name]:
        wanted += project["optional-dependencies"][extra]
    found = locked(name)
    for requirement in map(Requirement, wanted):
        versions = found.get(canonicalize_name(requirement.name), [])
        assert versions, f"{name}.txt lacks {requirement}"
        for version, _ in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{name}.txt: {requirement}, {version}"


@pytest.mark.parametrize("name", DEVICE_PACKAGES)
def test_a_lock_of_an_accelerator_has_its_plugin(name: str):
    assert set(DEVICE_PACKAGES[name]) <= set(locked(name))


@pytest.mark.parametrize(
    ("name", "whole"), [(n, "dev") for n in EXTRAS if n != "dev"] + [(n, "trainer") for n in DEVICE_PACKAGES]
)
def test_locks_agree_on_versions(name: str, whole: str):
    here, there = locked(name), locked(whole)
    differ = {
        package: (sorted(v for v, _ in here[package]), sorted(v for v, _ in there[package]))
        for package in here.keys() & there.keys()
        if {v for v, _ in here[package]} != {v for v, _ in there[package]}
    }
    assert not differ


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_hashes_and_names_no_registry(name: str):
    text = (LOCKS / f"{name}.txt").read_text()
    assert "://" not in text and "--index-url" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert entries and all("--hash=sha256:" in entry for entry in entries)
