"""What the images that were built from this tree say of themselves."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cluster.images import OPERATOR, TRAINER
from cluster.layout import Layout
from packaging.markers import Marker
from packaging.utils import canonicalize_name

LOCKS = Path(__file__).parents[2] / "images/requirements"
SBOM = "opt/sbom/python.cdx.json"

pytestmark = pytest.mark.cluster


def sbom(layout: Layout) -> dict[str, Any]:
    for layer in reversed(layout.image().layers):
        with tarfile.open(layout.file(layer)) as archive:
            if SBOM in archive.getnames():
                file = archive.extractfile(SBOM)
                assert file is not None
                return json.load(file)
    raise AssertionError(f"{layout.name} has no /{SBOM}")


def locked(name: str) -> dict[str, str]:
    """Versions of the packages that a lock installs on this kind of machine."""
    found = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))?(?: \\)?$", line):
            package, version, marker = match.groups()
            if marker is None or Marker(marker).evaluate():
                found[canonicalize_name(package)] = version
    return found


@pytest.mark.parametrize(
    ("layout", "lock"), [(OPERATOR, "operator"), (TRAINER, "trainer")], ids=["operator", "trainer"]
)
def test_a_bill_of_materials_names_each_package_of_the_lock_with_its_licence(project_images, layout, lock):
    document = sbom(layout)

    assert document["bomFormat"] == "CycloneDX"
    components = {canonicalize_name(one["name"]): one for one in document["components"]}
    assert {name: one["version"] for name, one in components.items()} == locked(lock)
    assert [name for name, one in components.items() if not one.get("licenses")] == []
