"""The checked-in dashboards are what charts/dashboards writes, and are whole."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "charts"))

from dashboards.__main__ import FILES, FOLDER

NAMES = sorted(FILES)


def panels(name: str) -> list[dict]:
    return [panel for panel in FILES[name].json()["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_what_the_generator_writes(name):
    assert (FOLDER / name).read_text() == FILES[name].text(), "run `make crd`"


def test_no_other_files_are_there():
    assert sorted(path.name for path in FOLDER.iterdir()) == NAMES


def test_uids_are_those_that_people_have_in_their_bookmarks():
    uids = {name: FILES[name].uid for name in NAMES}
    assert uids == {"fleet.json": "lateen-fleet", "job.json": "lateen-job", "operator.json": "lateen-operator"}


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side_and_say_what_they_show(name):
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in FILES[name].json()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_published_types_of_grafana_read_them_and_lose_nothing():
    """By Grafana's own Python types, where they are installed: `pip install grafana-foundation-sdk`."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    for name in NAMES:
        ours = json.loads((FOLDER / name).read_text())
        theirs = json.loads(encoder.JSONEncoder(sort_keys=True).encode(models.Dashboard.from_json(ours)))
        assert [lost for lost in _lost(ours, theirs, "") if not lost.endswith(_NOT_TYPED)] == [], name


_NOT_TYPED = (".definition", ".step", ".titleFormat")
"""Ends of paths that Grafana reads, and whose types the SDK lacks."""


def _lost(ours: object, theirs: object, path: str) -> list[str]:
    """Paths of what `ours` says and `theirs` does not."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            lost
            for key, value in ours.items()
            for lost in (_lost(value, theirs[key], f"{path}.{key}") if key in theirs else [f"{path}.{key}"])
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            lost
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for lost in _lost(*pair, f"{path}[{index}]")
        ]
    return [] if ours == theirs else [path]
