"""Copies of the chart, for what it may hold one day."""

import shutil
from pathlib import Path

import pytest
from charts.helm import CHART


@pytest.fixture
def bare_chart(tmp_path: Path) -> Path:
    """The chart without dashboards and alert rules."""
    copy = tmp_path / "lateen"
    shutil.copytree(CHART, copy)
    for folder in ("dashboards", "alerts"):
        shutil.rmtree(copy / folder, ignore_errors=True)
    return copy
