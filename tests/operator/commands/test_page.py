"""The page of `lateen status`, as a terminal of 160 columns shows it."""

from typing import Any

import pytest
from lateen_api.status import JobStatus
from lateen_operator.commands.page import JobView, page
from rich.console import Console

NOW = 1_896_091_200.0
"""2030-01-31T12:00:00Z"""


def shown(*, width: int = 160, **status: Any) -> list[str]:
    """The lines of the page, without what pads them."""
    job = JobView("nano", "research", False, JobStatus.model_validate(status))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(page(job, NOW))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2030-01-31T11:00:00Z",
    }


PLAN = {
    "accelerator": "cpu", "mesh": "4x1", "devices": 4, "microbatch": 2, "accumulationSteps": 1,
    "parameters": 859_008, "tokensPerStep": 8192,
}  # fmt: skip


def test_job_under_way():
    lines = shown(
        state="Training",
        hosts=2,
        attemptCount=1,
        plan=PLAN,
        conditions=[condition("Accepted", "True", "Planned", "x"), condition("Running", "True", "Training", "y")],
        progress={"step": 347, "of": 560, "percent": 61, "phase": "Training", "loss": 2.10344, "eta": "45s",
                  "validationLoss": 2.2, "tokensPerSecond": 12345.6, "mfu": 0.412},
        lastCheckpoint={"step": 340, "path": "/shared/nano/step-00000340", "time": "2030-01-31T11:59:48Z"},
        goodput=0.971,
        time={"training": 90, "lostSteps": 9.8, "data": 0.2},
    )  # fmt: skip
    assert lines[0] == "nano research Training cpu, 2 hosts, mesh 4x1, 859,008 parameters, 8,192 tokens a step"
    assert lines[1].endswith("61 % step 347 of 560 ETA 45s")
    assert lines[2] == (
        "loss 2.1034 validation loss 2.2000 tokens/s 12,346 MFU 41% goodput 97.1% "
        "checkpoint step 340, 12 s ago, /shared/nano/step-00000340"
    )
    assert lines[3:] == ["time 90% training 10% lost steps"]


def test_another_phase_than_training_is_named():
    assert shown(progress={"step": 5, "of": 10, "percent": 50, "phase": "Evaluating"})[1].endswith(
        "50 % step 5 of 10 Evaluating"
    )


@pytest.mark.parametrize(
    ("kind", "status", "line"),
    [
        ("Accepted", "False", "Not accepted (Invalid): spec.model.hiddenDim: …"),
        ("Queued", "True", "Queued (Invalid): spec.model.hiddenDim: …"),
        ("Degraded", "True", "Degraded (Invalid): spec.model.hiddenDim: …"),
        ("Straggling", "True", "Straggling (Invalid): spec.model.hiddenDim: …"),
        ("Failed", "True", "Failed (Invalid): spec.model.hiddenDim: …"),
        ("Running", "False", "Not running (Invalid): spec.model.hiddenDim: …"),
    ],
)
def test_conditions_that_matter_are_told(kind: str, status: str, line: str):
    assert shown(state="X", conditions=[condition(kind, status, "Invalid", "spec.model.hiddenDim: …")])[1] == line


@pytest.mark.parametrize(("kind", "status"), [("Accepted", "True"), ("Running", "True"), ("Degraded", "False")])
def test_conditions_that_say_nothing_new_are_not(kind: str, status: str):
    assert len(shown(state="X", conditions=[condition(kind, status, "R", "m")])) == 1


def test_why_it_does_not_run_is_told_once():
    waits = condition("Running", "False", "Queued", "no machine"), condition("Queued", "True", "Queued", "no machine")
    assert shown(state="Queued", conditions=list(waits))[1:] == ["Queued (Queued): no machine"]


def test_job_that_no_operator_has_seen():
    assert shown() == ["nano research Unknown", "Nothing is known of it yet: is the operator running?"]


def test_attempts_say_why_they_ended_and_what_it_cost():
    ended = {
        "number": 1, "hosts": 2, "started": "2030-01-31T11:00:00Z", "ended": "2030-01-31T11:30:00Z",
        "failureClass": "Infrastructure", "reason": "NodeLost", "node": "node-2", "message": "its node was lost",
        "firstStep": 0, "step": 1234, "stepsLost": 34, "secondsToNextStep": 42.0, "exitCode": 137,
    }  # fmt: skip
    runs = {"number": 2, "hosts": 1, "started": "2030-01-31T11:30:20Z", "firstStep": 1200, "step": 1500}
    waits = {"number": 3, "hosts": 1, "started": "2030-01-31T11:59:59Z"}
    conditions = [condition("Accepted", "True", "R", "m")]
    lines = shown(state="Training", attemptCount=5, attempts=[ended, runs, waits], conditions=conditions)
    assert lines[2:] == [
        "attempt hosts steps lasted lost to next step why it ended",
        "1 2 0 → 1,234 30 min 34 42 s Infrastructure (NodeLost) on node-2: its node was lost",
        "2 1 1,200 → 1,500 29 min 40 s – – it runs",
        "3 1 – 1 s – – it runs",
        "2 older attempts not shown",
    ]


def test_messages_cannot_steer_the_terminal():
    text = "\n".join(shown(conditions=[condition("Failed", "True", "R", "a\x1b[2Jb")]))
    assert "a·[2Jb" in text
    assert "\x1b" not in text


def test_warnings_of_the_plan_are_told():
    conditions = [condition("Accepted", "True", "R", "m")]
    assert shown(conditions=conditions, plan={**PLAN, "warnings": ["Memory may run out."]})[1] == (
        "Note: Memory may run out."
    )


def test_a_narrow_terminal_shows_the_whole_heading():
    lines = shown(width=80, state="Training", hosts=1, plan=PLAN)
    assert " ".join(lines[:2]) == (
        "nano research Training cpu, 1 host, mesh 4x1, 859,008 parameters, 8,192 tokens a step"
    )


def test_nodes_that_are_avoided_are_named_with_the_time_that_is_left():
    node = {"name": "node-7", "reason": "NodeLost", "message": "attempt 3 lost it", "until": "2030-01-31T12:00:40Z"}
    over = node | {"name": "node-8", "until": "2030-01-31T11:59:59Z"}
    lines = shown(
        state="Training", conditions=[condition("Running", "True", "Training", "x")], avoidedNodes=[node, over]
    )
    assert lines[1:] == ["Avoids node-7 for 40 s (NodeLost): attempt 3 lost it"]
