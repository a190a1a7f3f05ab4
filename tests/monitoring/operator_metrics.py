"""The operator's own metrics, served in this process: its registry, fed as the operator feeds it, without a cluster."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from lateen_api.status import (
    CheckpointStatus,
    Condition,
    ConditionType,
    JobStatus,
    PlanStatus,
    ProgressStatus,
    TimeStatus,
)
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.resources import WATCHED
from prometheus_client import start_http_server

_PLAN = PlanStatus(
    accelerator="cpu", mesh="2x1", devices=2, microbatch=1, accumulation_steps=1, parameters=1, tokens_per_step=1
)

_WAITS = Condition(
    type=ConditionType.QUEUED,
    status="True",
    reason="WaitingForAdmission",
    message="Kueue has not admitted it.",
    last_transition_time="2030-01-31T12:00:00Z",
)


@contextlib.contextmanager
def serving(port: int, job: Key, *, seconds: float = 0.2) -> Iterator[Metrics]:
    """An operator at work on `job`, and on another one that is queued. Its metrics move every `seconds`."""
    metrics = Metrics()
    server, thread = start_http_server(port, "127.0.0.1", metrics.registry)
    ended = threading.Event()
    worker = threading.Thread(target=_work, args=(metrics, job, ended, seconds))
    worker.start()
    try:
        yield metrics
    finally:
        ended.set()
        worker.join()
        server.shutdown()
        server.server_close()
        thread.join()


def _work(metrics: Metrics, job: Key, ended: threading.Event, seconds: float) -> None:
    for resource in WATCHED:
        metrics.watch_age.labels(resource.plural).set_function(lambda: 3.0)
    rounds = 0
    while not ended.wait(seconds):
        rounds += 1
        metrics.jobs.put(job, _status("Training", rounds))
        metrics.jobs.put(Key(job.namespace, "waits"), JobStatus(state="Queued", plan=_PLAN, conditions=[_WAITS]))
        metrics.reconciliations.observe(0.01)
        metrics.request_seconds.observe(0.005)
        metrics.requests.labels("patch", "200").inc()
        metrics.status_patches.inc()
        metrics.polls.labels("progress").inc()
        metrics.recovery.observe(12)
        metrics.watch_events.labels(WATCHED[0].plural).inc()
        if rounds % 10 == 0:
            metrics.errors.labels("ApiException").inc()
            metrics.attempts.labels("Planned").inc()
            metrics.jobs.attempt_ended(job, "Planned")


def _status(state: str, step: int) -> JobStatus:
    return JobStatus(
        state=state,
        plan=_PLAN,
        hosts=2,
        attempt_count=2,
        progress=ProgressStatus(step=step, of=1000, percent=0),
        last_checkpoint=CheckpointStatus(step=1, path="/runs/small/step-1", time=datetime.now(UTC).isoformat()),
        time=TimeStatus(training=0.2 * step, compiling=10),
        goodput=0.9,
    )
