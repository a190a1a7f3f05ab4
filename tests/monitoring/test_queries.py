"""Each query of each dashboard, asked of a real Prometheus that scrapes two processes which train."""

import json
import math
import re
from collections.abc import Iterator

import pytest
from monitoring.scraped_run import DASHBOARDS, NAME, NAMESPACE, Scraped, scraped_run

NO_DATA = {
    ("job.json", "MFU"): "the peak of a CPU is not known",
    ("job.json", "Memory of devices"): "JAX tells nothing of a CPU's memory",
    ("fleet.json", "Alerts that fire"): "a healthy run has none",
    ("fleet.json", "Operator started"): "it did not start again",
}
"""Panels and annotations whose queries return nothing here, and why. A query that starts to return data is an error."""


def has_data(scraped: Scraped, expr: str) -> bool:
    """Does the query give a number at any time?"""
    return any(not math.isnan(float(value)) for one in scraped.series(expr) for _, value in one["values"])


@pytest.fixture(scope="module")
def scraped(tmp_path_factory) -> Iterator[Scraped]:
    """A run of two processes, seen for ten seconds of training."""
    with scraped_run(tmp_path_factory.mktemp("run"), seconds=10) as found:
        yield found


def queries() -> Iterator[tuple[str, str, str]]:
    """File, title and query of all panels and annotations."""
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield path.name, panel["title"], target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            yield path.name, annotation["name"], annotation["expr"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_query_returns_data(scraped):
    """A minute: that no panel is empty because of a name, a label or a join that Prometheus sees otherwise."""
    empty = {(file, title, expr) for file, title, expr in queries() if not has_data(scraped, expr)}
    unexpected = {one for one in empty if one[:2] not in NO_DATA}
    assert not unexpected, "\n".join(map(str, sorted(unexpected)))
    assert {one[:2] for one in empty} == set(NO_DATA)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_variable_offers_the_job(scraped):
    """What Grafana fills the choices with."""
    offered = {}
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                assert match, variable
                series = scraped.server.query(match[1].replace("$namespace", NAMESPACE))
                offered[path.name, variable["name"]] = {one["metric"][match[2]] for one in series}
    assert offered == {
        ("fleet.json", "namespace"): {NAMESPACE},
        ("job.json", "namespace"): {NAMESPACE},
        ("job.json", "training_job"): {NAME, "waits"},
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_alert_is_pending_but_for_the_job_that_waits(scraped):
    """Rules are evaluated on what was scraped, and a healthy run is healthy."""
    assert scraped.server.query('ALERTS{alertstate="firing"}') == []
    pending = {
        (one["metric"]["alertname"], one["metric"].get("training_job")) for one in scraped.server.query("ALERTS")
    }
    assert pending <= {("LateenJobQueuedLong", "waits"), ("LateenStraggler", NAME)}
