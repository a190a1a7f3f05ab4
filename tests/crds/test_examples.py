"""The jobs in docs/examples are jobs that can run."""

from pathlib import Path

import pytest
from lateen_api.load import load_job
from lateen_api.plan import make_plan

FILES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.yaml"))
EXAMPLES = [path for path in FILES if "kind: LMTrainingJob" in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_can_be_planned_without_warnings(path: Path):
    assert make_plan(load_job(path)).warnings == []
