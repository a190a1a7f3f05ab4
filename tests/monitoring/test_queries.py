"""Each query of each dashboard, asked of real Prometheuses that scrape two processes which train.

One scrapes with no labels but its own; each of the others as a release of the chart has it scrape.
"""

import json
import math
import re
from collections.abc import Iterator

import pytest
from charts.helm import helm_program
from lateen_operator.cluster.informer_cache import Key
from monitoring.chart_scraping import VARIANTS, chart_scrape_configs
from monitoring.scraped_run import DASHBOARDS, NAME, NAMESPACE, Scraped, exporters, scraped

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


PLAIN = "plain"
CHARTS_OWN = [f"{way}-{release.name}" for way, release in VARIANTS]


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[dict[str, Scraped]]:
    """A run of two processes, seen for ten seconds of training, by each Prometheus."""
    folder = tmp_path_factory.mktemp("run")
    helm_program()
    job = Key(NAMESPACE, NAME)
    with exporters(folder) as found:
        configurations = {PLAIN: found.scrape_configs()} | {
            f"{way}-{release.name}": chart_scrape_configs(way, release, job, found.operator, found.trainers, "1s")
            for way, release in VARIANTS
        }
        with scraped(folder / "prometheus", found, configurations, seconds=10) as seen:
            yield seen


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
@pytest.mark.parametrize("server", [PLAIN, *CHARTS_OWN])
def test_each_query_returns_data(servers, server):
    """A minute: that no panel is empty because of a name, a label or a join that Prometheus sees otherwise."""
    empty = {(file, title, expr) for file, title, expr in queries() if not has_data(servers[server], expr)}
    unexpected = {one for one in empty if one[:2] not in NO_DATA}
    assert not unexpected, "\n".join(map(str, sorted(unexpected)))
    assert {one[:2] for one in empty} == set(NO_DATA)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", [PLAIN, *CHARTS_OWN])
def test_each_variable_offers_the_job(servers, server):
    """What Grafana fills the choices with."""
    offered = {}
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                assert match, variable
                series = servers[server].server.query(match[1].replace("$namespace", NAMESPACE))
                offered[path.name, variable["name"]] = {one["metric"][match[2]] for one in series}
    assert offered == {
        ("fleet.json", "namespace"): {NAMESPACE},
        ("job.json", "namespace"): {NAMESPACE},
        ("job.json", "training_job"): {NAME, "waits"},
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", [PLAIN, *CHARTS_OWN])
def test_no_alert_is_pending_but_for_the_job_that_waits(servers, server):
    """Rules are evaluated on what was scraped, and a healthy run is healthy."""
    seen = servers[server].server
    assert {rule["name"]: rule.get("lastError") for rule in seen.rules() if rule["health"] != "ok"} == {}
    assert seen.query('ALERTS{alertstate="firing"}') == []
    pending = {(one["metric"]["alertname"], one["metric"].get("training_job")) for one in seen.query("ALERTS")}
    assert pending <= {("LateenJobQueuedLong", "waits"), ("LateenStraggler", NAME)}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", CHARTS_OWN)
def test_the_chart_has_the_operator_and_each_process_scraped_once(servers, server):
    """Not a neighbour's operator, nor another port of a pod: nothing listens there."""
    addresses = {one["metric"]["instance"]: one["value"][1] for one in servers[server].server.query("up")}
    assert list(addresses.values()) == ["1"] * 3
    by_metric = {
        name: len(servers[server].server.query(name))
        for name in ("lateen_operator_workqueue_depth", "lateen_trainer_step")
    }
    assert by_metric == {"lateen_operator_workqueue_depth": 1, "lateen_trainer_step": 2}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", CHARTS_OWN)
def test_no_label_of_a_metric_is_one_of_the_targets(servers, server):
    """Prometheus would rename it, and no query would find it."""
    assert [name for name in servers[server].server.label_names() if name.startswith("exported_")] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", CHARTS_OWN)
def test_each_metric_of_the_alert_rules_says_whose_it_is(servers, server):
    """By the labels that rules compare and sum by. A job's checkpoint and its queue are there, too."""
    for rule in servers[server].server.rules():
        for name in set(re.findall(r"lateen_\w+", rule["query"])):
            series = servers[server].last(name)
            assert series, (rule["name"], name)
            if "training_job" in rule["query"]:
                owners = {
                    (one["metric"].get("training_job_namespace"), one["metric"].get("training_job")) for one in series
                }
                assert owners <= {(NAMESPACE, NAME), (NAMESPACE, "waits")}, (rule["name"], name)
