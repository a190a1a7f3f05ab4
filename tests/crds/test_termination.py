"""Exit codes and termination messages."""

import json

import pytest
from lateen_api.termination import MEANING, ExitCode, TerminationMessage


@pytest.mark.parametrize("code", ExitCode)
def test_outcome_survives_the_round_trip(code: ExitCode):
    outcome = TerminationMessage(
        code, "as it was", step=120, checkpoint="gs://runs/nano/step-120", checkpoint_step=120, loss=2.5
    )
    assert TerminationMessage.from_json(outcome.to_json()) == outcome


def test_outcome_of_a_process_that_never_started_survives_too():
    outcome = TerminationMessage(ExitCode.USER_ERROR, "no such file")
    assert TerminationMessage.from_json(outcome.to_json()) == outcome


def test_outcome_names_the_process_that_is_gone():
    outcome = TerminationMessage(ExitCode.LOST_PEER, "Process 3 has been silent for 31 s.", lost_process=3)
    assert json.loads(outcome.to_json())["lostProcess"] == 3
    assert TerminationMessage.from_json(outcome.to_json()) == outcome


def test_outcome_names_the_process_that_was_told_to_leave():
    outcome = TerminationMessage(ExitCode.SAVED, "SIGTERM arrived.", signalled_process=0)
    assert json.loads(outcome.to_json())["signalledProcess"] == 0
    assert TerminationMessage.from_json(outcome.to_json()) == outcome


def test_exit_code_is_a_number_under_a_camel_case_name():
    assert json.loads(TerminationMessage(ExitCode.NAN, "loss is nan", step=7).to_json()) == {
        "exitCode": 43,
        "message": "loss is nan",
        "step": 7,
        "checkpoint": None,
        "startStep": None,
    }


@pytest.mark.parametrize("letter", ["x", "é", '"', "\n"])
def test_long_message_is_cut_to_kubernetes_limit(letter: str):
    text = TerminationMessage(ExitCode.ERROR, letter * 10_000, step=2**31, checkpoint="gs://" + "y" * 1000).to_json()
    assert len(text.encode()) <= 4096
    assert TerminationMessage.from_json(text).message.count(letter) > 1000


@pytest.mark.parametrize(
    "text",
    [
        *("", "Killed", "{", "[]", "{}", '{"exitCode": 99, "message": ""}'),
        '{"exitCode": 44, "message": "", "lostProcess": []}',
        '{"exitCode": 42, "message": "", "signalledProcess": []}',
    ],
)
def test_text_that_is_no_outcome_is_refused(text: str):
    with pytest.raises(ValueError, match="not an outcome"):
        TerminationMessage.from_json(text)


def test_own_codes_are_the_forties_and_each_has_a_meaning():
    assert {int(code) for code in ExitCode} == {0, 1, *range(40, 48)}
    assert set(MEANING) == set(ExitCode)
