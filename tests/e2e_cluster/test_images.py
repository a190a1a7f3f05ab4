"""What the images that were built from this tree say of themselves."""

import json
import tarfile
from typing import Any

import pytest
from cluster.images import OPERATOR, TRAINER
from cluster.layout import Layout
from locks import locked
from packaging.utils import canonicalize_name

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


def installed(name: str) -> dict[str, str]:
    """Versions of the packages that a lock installs on this kind of machine."""
    return {
        package: version
        for package, entries in locked(name).items()
        for version, requirement in entries
        if requirement.marker is None or requirement.marker.evaluate()
    }


@pytest.mark.parametrize(
    ("layout", "lock"), [(OPERATOR, "operator"), (TRAINER, "trainer")], ids=["operator", "trainer"]
)
def test_a_bill_of_materials_names_each_package_of_the_lock_with_its_licence(project_images, layout, lock):
    document = sbom(layout)

    assert document["bomFormat"] == "CycloneDX"
    components = {canonicalize_name(one["name"]): one for one in document["components"]}
    assert {name: one["version"] for name, one in components.items()} == installed(lock)
    assert [name for name, one in components.items() if not one.get("licenses")] == []
