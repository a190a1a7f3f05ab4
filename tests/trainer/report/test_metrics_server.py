"""The pages of a trainer process, asked for over HTTP."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from lateen_api.progress import Phase, Progress
from lateen_trainer.errors import UserError
from lateen_trainer.report.metrics_server import MetricsServer
from lateen_trainer.report.progress import ProgressState
from lateen_trainer.report.prometheus import OWNER, PrometheusTracker
from prometheus_client.parser import text_string_to_metric_families


def alive() -> str | None:
    """The loop moves."""
    return None


@contextmanager
def serving(
    state: ProgressState, *, stale: Callable[[], str | None] = alive, first: bool = True, process_id: int = 0
) -> Iterator[tuple[str, PrometheusTracker]]:
    """A server on a free port: its URL and its numbers."""
    tracker = PrometheusTracker(state, namespace="team", job="nano", process_id=process_id, attempt=2)
    with MetricsServer("127.0.0.1", 0, metrics=tracker, stale=stale, progress=state if first else None) as server:
        yield f"http://127.0.0.1:{server.port}", tracker


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(url: str) -> dict[str, float]:
    """The samples of /metrics by name; labels behind the name, but for those that all series have."""
    return {
        sample.name
        + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items()) if key not in OWNER): sample.value
        for family in text_string_to_metric_families(get(f"{url}/metrics")[1])
        for sample in family.samples
    }


def test_progress_is_the_contracts_json():
    state = ProgressState(lambda: 5.0)
    state.configure(of=100, step=7, tokens_per_step=64)
    with serving(state) as (url, _):
        status, body = get(f"{url}/progress")
    assert status == 200
    assert Progress.model_validate_json(body) == state.snapshot()
    assert json.loads(body)["lastCheckpointStep"] is None


def test_only_process_0_shows_progress():
    with serving(ProgressState(), first=False) as (url, _):
        assert get(f"{url}/progress") == (404, "Expected one of /metrics, /healthz.\n")


def test_a_moving_loop_is_healthy():
    with serving(ProgressState()) as (url, _):
        status, body = get(f"{url}/healthz")
    assert (status, json.loads(body)) == (200, {"healthy": True, "reason": None})


def test_a_loop_that_stands_still_is_not():
    with serving(ProgressState(), stale=lambda: "no step for 700 s") as (url, _):
        status, body = get(f"{url}/healthz")
    assert (status, json.loads(body)) == (503, {"healthy": False, "reason": "no step for 700 s"})


def test_metrics_show_progress_and_logged_numbers():
    state = ProgressState(lambda: 5.0)
    state.configure(of=100, step=7, tokens_per_step=64)
    state.enter(Phase.EVALUATING)
    state.committed("step-5", 5)
    with serving(state) as (url, tracker):
        tracker.log({"loss": 3.25, "learning_rate": 6e-4, "step_seconds": 0.3, "data_wait_seconds": 0.02}, step=6)
        tracker.log({"step_seconds": 0.4, "data_wait_seconds": 0.03, "loss": 3.0, "unknown": 1.0}, step=7)
        tracker.log({"checkpoint_seconds": 1.5, "checkpoint_bytes": 1e6}, step=7)
        shown = samples(url)
    expected = {
        "lateen_trainer_step": 7,
        "lateen_trainer_target_steps": 100,
        "lateen_trainer_run_tokens": 448,
        "lateen_trainer_steps_total": 2,
        "lateen_trainer_tokens_total": 128,
        "lateen_trainer_loss": 3.0,
        "lateen_trainer_learning_rate": 6e-4,
        "lateen_trainer_step_duration_seconds_count": 2,
        "lateen_trainer_step_duration_seconds_sum": 0.7,
        "lateen_trainer_step_duration_seconds_bucket,le=0.25": 0,
        "lateen_trainer_step_duration_seconds_bucket,le=0.5": 2,
        "lateen_trainer_data_wait_seconds_total": 0.05,
        "lateen_trainer_checkpoint_step": 5,
        "lateen_trainer_checkpoint_timestamp_seconds": 5.0,
        "lateen_trainer_checkpoint_duration_seconds_sum": 1.5,
        "lateen_trainer_checkpoint_size_bytes": 1e6,
        "lateen_trainer_phase,phase=Evaluating": 1,
        "lateen_trainer_phase,phase=Training": 0,
    }
    assert {name: shown[name] for name in expected} == pytest.approx(expected)


def test_known_series_stand_at_0_from_the_first_scrape():
    with serving(ProgressState()) as (url, _):
        shown = samples(url)
    counters = ("steps", "tokens", "data_wait_seconds", "compile_seconds", "checkpoint_blocked_seconds")
    assert {shown[f"lateen_trainer_{name}_total"] for name in counters} == {0}
    assert shown["lateen_trainer_checkpoint_duration_seconds_count"] == 0
    assert shown["lateen_trainer_phase_seconds_total,phase=Exporting"] == 0


def test_the_time_in_all_phases_adds_up_to_the_age_of_the_process():
    now = 100.0
    state = ProgressState(lambda: now)
    with serving(state) as (url, _):
        for phase, seconds in ((Phase.COMPILING, 2.0), (Phase.SAVING, 3.0), (Phase.COMPILING, 1.0)):
            now += seconds
            state.enter(phase)
        now += 4.0
        state.trained(1)
        state.trained(2)
        now += 10.0
        shown = samples(url)
    spent = {name.partition("phase=")[2]: shown[name] for name in shown if name.startswith("lateen_trainer_phase_sec")}
    assert {phase: seconds for phase, seconds in spent.items() if seconds} == {
        "Starting": 2.0, "Compiling": 3.0 + 4.0, "Saving": 1.0, "Training": 10.0
    }  # fmt: skip


def test_a_process_says_who_it_is():
    with serving(ProgressState(), process_id=3) as (url, _):
        body = get(f"{url}/metrics")[1]
    (line,) = [line for line in body.splitlines() if line.startswith("lateen_trainer_info{")]
    owner = 'process="3",training_job="nano",training_job_namespace="team"'
    assert all(label in line for label in owner.split(",")) and 'attempt="2"' in line and line.endswith(" 1.0")


def test_a_taken_port_is_the_users_error_and_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tracker = PrometheusTracker(ProgressState())
        server = MetricsServer("127.0.0.1", port, metrics=tracker, stale=alive, progress=None)
        with pytest.raises(UserError, match=rf"LATEEN_METRICS_PORT: .*127\.0\.0\.1:{port} .*Choose another port"):
            server.__enter__()


def test_the_port_is_free_again_afterwards():
    with serving(ProgressState()) as (url, _):
        port = int(url.rpartition(":")[2])
    socket.create_server(("127.0.0.1", port)).close()


def test_batches_that_are_left_out_are_counted():
    with serving(ProgressState()) as (url, tracker):
        before = samples(url)["lateen_trainer_skipped_batches"]
        tracker.left_out(3)
        assert (before, samples(url)["lateen_trainer_skipped_batches"]) == (0, 3)
        tracker.skipped_documents(7)
        assert samples(url)["lateen_trainer_skipped_documents"] == 7


def test_damaged_checkpoints_stand_at_0_until_some_are_found():
    with serving(ProgressState()) as (url, tracker):
        before = samples(url)["lateen_trainer_damaged_checkpoints"]
        tracker.damaged_checkpoints(2)
        assert (before, samples(url)["lateen_trainer_damaged_checkpoints"]) == (0, 2)
