"""Why an attempt ended, from how its processes ended."""

import pytest
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.process_exit import FailureClass, ProcessExit, shell_exit_code, signal_name
from lateen_operator.verdict import classify


def end(process: int, code: int, at: float = 0.0, **more) -> ProcessExit:
    return ProcessExit(process, code, at, **more)


@pytest.mark.parametrize(
    ("code", "failure_class", "retry"),
    [
        (0, FailureClass.DONE, True),
        (1, FailureClass.USER, True),
        (2, FailureClass.USER, True),
        (40, FailureClass.USER, False),
        (41, FailureClass.DATA, True),
        (42, FailureClass.PLANNED, True),
        (43, FailureClass.NUMERICAL, False),
        (44, FailureClass.INFRASTRUCTURE, True),
        (45, FailureClass.INFRASTRUCTURE, True),
        (46, FailureClass.DATA, False),
        (47, FailureClass.PLANNED, True),
        (77, FailureClass.USER, True),
        (125, FailureClass.USER, False),
        (126, FailureClass.USER, False),
        (127, FailureClass.USER, False),
        (130, FailureClass.PLANNED, True),
        (134, FailureClass.INFRASTRUCTURE, True),
        (135, FailureClass.INFRASTRUCTURE, True),
        (137, FailureClass.INFRASTRUCTURE, True),
        (139, FailureClass.INFRASTRUCTURE, True),
        (143, FailureClass.PLANNED, True),
        (255, FailureClass.INFRASTRUCTURE, True),
    ],
)
def test_each_exit_code_has_its_kind(code, failure_class, retry):
    verdict = classify([end(0, code)])
    assert (verdict.failure_class, verdict.retry, verdict.exit_code) == (failure_class, retry, code)


def test_every_exit_code_of_the_contract_is_known():
    classes = {code: classify([end(0, code)]).failure_class for code in ExitCode}
    assert len(classes) == len(ExitCode)
    assert FailureClass.DONE not in [failure_class for code, failure_class in classes.items() if code != ExitCode.DONE]


@pytest.mark.parametrize(("subprocess_code", "shell_code"), [(-9, 137), (-15, 143), (-6, 134), (-11, 139), (3, 3)])
def test_codes_of_subprocess_and_of_a_shell_mean_the_same(subprocess_code, shell_code):
    assert shell_exit_code(subprocess_code) == shell_code
    ours, theirs = classify([end(0, subprocess_code)]), classify([end(0, shell_code)])
    assert ours == theirs


@pytest.mark.parametrize(("code", "name"), [(137, "SIGKILL"), (-11, "SIGSEGV"), (0, None), (1, None), (255, None)])
def test_signals_have_their_names(code, name):
    assert signal_name(code) == name


def test_the_first_bad_end_decides():
    verdict = classify([end(0, 44, at=3.0), end(2, 134, at=2.0), end(1, 137, at=1.0)])
    assert (verdict.process, verdict.message) == (1, "process 1 was killed by SIGKILL")


def test_a_lost_peer_is_an_echo_even_when_it_was_seen_first():
    verdict = classify([end(0, 44, at=1.0), end(1, 40, at=1.1)])
    assert (verdict.process, verdict.failure_class) == (1, FailureClass.USER)


def test_lost_peers_alone_are_infrastructure():
    assert classify([end(0, 44, at=1.0), end(1, 44, at=1.1)]).failure_class is FailureClass.INFRASTRUCTURE


def lost(process: int, peer: int | None, said: str = "Process 1 has been silent for 31 s.", **more) -> ProcessExit:
    """A process that left because it lost this peer."""
    return end(process, 44, termination=TerminationMessage(ExitCode.LOST_PEER, said, lost_process=peer), **more)


def test_a_frozen_process_is_blamed_and_not_the_one_that_reports_it():
    frozen = end(1, 137, at=20.0, asked=True, node="bad")
    verdict = classify([lost(0, 1, at=10.0, node="good"), frozen])
    assert (verdict.failure_class, verdict.process, verdict.node) == (FailureClass.INFRASTRUCTURE, 1, "bad")
    assert verdict.message == "process 1 was lost, process 0 says: Process 1 has been silent for 31 s"


def test_a_process_0_that_was_frozen_is_blamed_also_when_it_reports_its_peer_once_awake():
    ends = [lost(1, 0, at=10.0, node="good"), lost(0, 0, "Process 1 left (lost a peer): …", at=40.0, node="bad")]
    assert (classify(ends).process, classify(ends).node) == (0, "bad")


@pytest.mark.parametrize("peers", [(None, None), (1, 0)], ids=["nobody is named", "they accuse each other"])
def test_where_all_lost_a_peer_and_none_is_named_nobody_is_blamed(peers):
    verdict = classify([lost(0, peers[0], at=1.0, node="a"), lost(1, peers[1], at=1.0, node="b")])
    assert (verdict.failure_class, verdict.process, verdict.node) == (FailureClass.INFRASTRUCTURE, None, None)


def test_lost_peers_of_trainers_that_name_nobody_blame_nobody():
    """Trainers of an older version, or one that was cut off in the middle of its termination message."""
    assert classify([end(0, 44, at=1.0, node="a"), end(1, 137, at=9.0, asked=True, node="b")]).node is None


def test_who_lost_a_peer_that_had_lost_another_blames_that_one():
    ends = [lost(2, 0, at=1.0), lost(0, 1, at=1.0), end(1, 137, at=9.0, asked=True, node="b")]
    assert (classify(ends).process, classify(ends).node) == (1, "b")


def test_a_process_that_lost_somebody_unknown_is_not_blamed_for_it():
    assert classify([lost(1, 0, at=1.0), lost(0, None, at=1.0, node="a")]).node is None


def test_of_two_bad_ends_in_one_second_the_one_that_was_lost_is_the_cause():
    """jax aborts the survivors of process 1 a moment after it is gone."""
    ends = [end(0, 134, at=5.0, node="a"), end(1, 137, at=5.0, node="b"), lost(2, 1, at=5.0, node="c")]
    assert (classify(ends).process, classify(ends).node, classify(ends).reason) == (1, "b", "SIGKILL")


def test_a_hang_of_several_processes_blames_nobody():
    """The process that notices it first may have waited for any of the others."""
    verdict = classify([end(1, 45, at=1.0, node="b"), lost(0, 1, "Process 1 left (hung).", at=1.1, node="a")])
    assert (verdict.failure_class, verdict.process, verdict.node) == (FailureClass.INFRASTRUCTURE, None, None)
    assert classify([end(0, 45, node="a")]).node == "a"


def test_a_process_that_was_asked_to_leave_does_not_decide():
    verdict = classify([end(0, -9, at=1.0, asked=True), end(1, 1, at=2.0)])
    assert (verdict.process, verdict.failure_class) == (1, FailureClass.USER)


def test_a_process_that_was_asked_decides_when_it_is_the_only_one():
    assert classify([end(0, 42, asked=True)]).failure_class is FailureClass.PLANNED


def test_a_done_process_0_makes_the_attempt_done_whatever_its_peers_do_later():
    assert classify([end(1, 139, at=2.0), end(0, 0, at=1.0)]).failure_class is FailureClass.DONE


def test_a_done_peer_does_not_make_the_attempt_done():
    verdict = classify([end(1, 0, at=1.0), end(0, 1, at=2.0)])
    assert (verdict.process, verdict.failure_class) == (0, FailureClass.USER)


@pytest.mark.parametrize(
    ("reason", "failure_class"),
    [
        ("OOMKilled", FailureClass.INFRASTRUCTURE),
        ("Evicted", FailureClass.PLANNED),
        ("PreemptionByScheduler", FailureClass.PLANNED),
        ("TerminationByKubelet", FailureClass.PLANNED),
        ("DeletionByTaintManager", FailureClass.INFRASTRUCTURE),
        (None, FailureClass.INFRASTRUCTURE),
    ],
)
def test_a_reason_of_the_platform_outweighs_sigkill(reason, failure_class):
    assert classify([end(0, 137, reason=reason)]).failure_class is failure_class


@pytest.mark.parametrize(
    "reason", ["EvictionByEvictionAPI", "Evicted", "NodeShutdown", "PreemptionByScheduler", "PodDeleted", "NodeLost"]
)
@pytest.mark.parametrize(
    ("code", "failure_class", "word"),
    [
        (40, FailureClass.USER, "UserError"),
        (41, FailureClass.DATA, "BadData"),
        (43, FailureClass.NUMERICAL, "Nan"),
        (46, FailureClass.DATA, "CorruptCheckpoint"),
    ],
)
def test_what_the_trainer_found_outweighs_a_reason_of_the_platform(reason, code, failure_class, word):
    verdict = classify([end(0, code, reason=reason)])
    assert (verdict.failure_class, verdict.reason) == (failure_class, word)
    assert verdict.message.startswith(f"process 0 ended with exit code {code} (")
    assert verdict.retry is (code == 41)


@pytest.mark.parametrize("code", [1, 42, 44, 47, 137, 143])
def test_what_follows_from_an_eviction_does_not(code):
    assert classify([end(0, code, reason="Evicted")]).failure_class is FailureClass.PLANNED


def test_in_one_second_an_error_of_the_job_comes_before_an_eviction():
    verdict = classify([end(0, 42, at=5.0, reason="Evicted"), end(1, 43, at=5.0)])
    assert (verdict.failure_class, verdict.process) == (FailureClass.NUMERICAL, 1)


@pytest.mark.parametrize(("code", "word"), [(1, "Error"), (134, "SIGABRT"), (45, "Hang")])
def test_in_one_second_a_kill_comes_before_errors_that_may_follow_from_it(code, word):
    verdict = classify([end(0, code, at=5.0), end(1, 137, at=5.0)])
    assert (verdict.failure_class, verdict.process) == (FailureClass.INFRASTRUCTURE, 1)
    assert classify([end(0, code, at=4.0), end(1, 137, at=5.0)]).reason == word


def test_a_job_set_that_was_suspended_by_hand_says_where_to_suspend_a_job():
    verdict = classify([end(0, 42, reason="JobSetSuspended")])
    assert (verdict.failure_class, verdict.retry) == (FailureClass.REQUESTED, True)
    assert verdict.message.endswith("suspended, and not by lateen. To suspend a job, set its spec.suspend")


def test_the_message_says_what_the_process_said():
    outcome = TerminationMessage(ExitCode.USER_ERROR, "spec.data.trainUrls: no file\nmatches.", step=0)
    assert classify([end(0, 40, termination=outcome)]).message == (
        "process 0 ended with exit code 40 (the job cannot run as written): spec.data.trainUrls: no file matches"
    )


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (1, None, "process 3 ended with exit code 1 (unexpected error)"),
        (77, None, "process 3 ended with exit code 77"),
        (-11, None, "process 3 crashed by SIGSEGV"),
        (143, None, "process 3 was killed by SIGTERM"),
        (137, "OOMKilled", "process 3 was killed because the machine ran out of memory"),
        (137, "Evicted", "process 3 had to leave (Evicted)"),
        (127, None, "process 3 could not be started (exit code 127)"),
        (0, None, "process 3 is done"),
    ],
)
def test_messages_without_an_outcome(code, reason, message):
    assert classify([end(3, code, reason=reason)]).message == message


def saved(process: int, signalled: int | None, **more) -> ProcessExit:
    """A process that saved and left since this one had got SIGTERM."""
    return end(
        process,
        42,
        termination=TerminationMessage(ExitCode.SAVED, "SIGTERM.", signalled_process=signalled),
        **more,
    )


def test_of_all_that_saved_the_one_that_was_told_to_is_named():
    verdict = classify([saved(0, 1, at=1.0, node="a"), saved(1, 1, at=1.0, node="b")])
    assert (verdict.reason, verdict.process, verdict.node) == ("Saved", 1, "b")


def test_who_could_not_save_says_nothing_about_who_was_told_first():
    """It may have been told because another one had died."""
    left = end(0, 47, at=9.0, termination=TerminationMessage(ExitCode.NOT_SAVED, "…", signalled_process=0))
    assert classify([left, end(1, 134, at=8.0)]).process == 1


def test_no_ends_cannot_be_judged():
    with pytest.raises(ValueError, match="without ended processes"):
        classify([])


@pytest.mark.parametrize("asked", [False, True])
def test_who_saved_because_a_peer_cannot_go_on_is_not_the_cause(asked):
    """All of them save and leave together when the disk of one is full; which is seen first is chance."""
    verdict = classify([end(1, 42, at=1.0), end(0, 40, at=1.2, asked=asked)])
    assert (verdict.process, verdict.failure_class, verdict.retry) == (0, FailureClass.USER, False)
