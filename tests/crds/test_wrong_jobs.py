"""Every mistake gets a message that names the field, the value, what was expected and what to do."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lateen_api.errors import JobError
from lateen_api.load import parse_job
from lateen_api.plan import make_plan

TABLE = yaml.safe_load(Path(__file__).with_name("wrong_jobs.yaml").read_text())


def test_the_job_that_the_wrong_ones_differ_from_is_right():
    assert make_plan(parse_job(TABLE["job"], "job.yaml")).parameters == 859_008


@pytest.mark.parametrize("case", TABLE["wrong"], ids=lambda case: case["what"])
def test_wrong_job_is_refused_with_this_message(case: dict[str, Any]):
    with pytest.raises(JobError) as caught:
        make_plan(parse_job(TABLE["job"], "job.yaml", case["set"]))
    assert f"{caught.value}\n" == case["message"]
