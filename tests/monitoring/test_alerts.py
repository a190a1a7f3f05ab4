"""The alert rules, by promtool: each fires when it should, and none for jobs that need no one."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from lateen_api.status import STATES
from lateen_operator.process_exit import FailureClass
from monitoring.prometheus import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "lateen" / "alerts" / "lateen.yaml"
CASES = Path(__file__).with_name("rules_test.yaml")
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in ALERTS]


def run(*arguments: str | Path) -> None:
    result = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def run_cases(folder: Path, cases: str) -> None:
    """As text: to PyYAML the values `0x200` are a hexadecimal number."""
    path = folder / "tests.yaml"
    path.write_text(f"rule_files: [{RULES}]\n{cases}")
    run("test", "rules", path)


def quiet(state: str, *, hours: int = 8) -> dict:
    """No alert fires for a job that was in this state for so long, with a bad past."""
    owner = 'training_job_namespace="team", training_job="nano"'
    samples = hours * 15
    values = {
        f'lateen_operator_job_info{{{owner}, state="{state}"}}': f"1x{samples}",
        f"lateen_operator_job_step{{{owner}}}": f"7x{samples}",
        f"lateen_operator_job_goodput_ratio{{{owner}}}": f"0.1x{samples}",
        f"lateen_operator_job_checkpoint_timestamp_seconds{{{owner}}}": f"0x{samples}",
        f'lateen_operator_job_attempts_ended_total{{{owner}, failure_class="User"}}': f"0x2 9x{samples - 2}",
        "lateen_operator_workqueue_depth": f"0x{samples}",
    }
    return {
        "interval": "4m",
        "input_series": [{"series": series, "values": value} for series, value in values.items()],
        "alert_rule_test": [
            {"eval_time": time, "alertname": name, "exp_alerts": []}
            for name in NAMES
            for time in ("12m", "36m", "3h", "6h", f"{hours}h")
        ],
    }


def test_the_rules_are_well_formed() -> None:
    run("check", "rules", RULES)


def test_each_rule_fires_when_it_should(tmp_path) -> None:
    run_cases(tmp_path, CASES.read_text())


@pytest.mark.parametrize("state", ["Complete", "Failed", "Suspended"])
def test_nothing_fires_for_jobs_that_ended_or_are_suspended(tmp_path, state) -> None:
    run_cases(tmp_path, yaml.safe_dump({"evaluation_interval": "4m", "tests": [quiet(state)]}))


def test_nothing_fires_for_a_job_that_is_queued_for_less_than_a_day(tmp_path) -> None:
    case = quiet("Queued", hours=23)
    case["input_series"] = [s for s in case["input_series"] if "attempts_ended" not in s["series"]]
    run_cases(tmp_path, yaml.safe_dump({"evaluation_interval": "4m", "tests": [case]}))


def test_each_rule_is_tested() -> None:
    fired = {
        expected["alertname"]
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for expected in case["alert_rule_test"]
        if expected["exp_alerts"]
    }
    assert fired == set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_each_rule_has_a_runbook_that_names_it(rule) -> None:
    page = ROOT / rule["annotations"]["runbook"]
    assert rule["alert"] in page.read_text()


def test_states_that_rules_name_are_states_of_jobs() -> None:
    named = {
        state for rule in ALERTS for part in rule["expr"].split("state=")[1:] for state in part.split('"')[1].split("|")
    }
    assert named <= set(STATES)


def test_metrics_and_failure_classes_that_rules_name_exist() -> None:
    """A rule over a name that is not there is silent for ever."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    known = set(re.findall(r"^\| `(lateen_\w+)`", page, re.MULTILINE))
    expressions = " ".join(rule["expr"] for rule in ALERTS)
    named = {re.sub("_(sum|count|bucket)$", "", name) for name in re.findall(r"lateen_\w+", expressions)}
    assert named <= known
    classes = {name for matched in re.findall(r'failure_class=~"([^"]*)"', expressions) for name in matched.split("|")}
    assert classes <= set(FailureClass)
