"""Real processes under the supervisor: fake trainers that keep the contract."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lateen_api.spec import RecoverySpec
from lateen_operator.attempts import Attempt, Fail, Finish
from lateen_operator.local import ledger
from lateen_operator.process_exit import FailureClass
from lateen_operator.reconcile import Suspend, Timeouts
from lateen_operator.verdict import Verdict

SHORT_TIMEOUTS = Timeouts(peers_leave=0.2, peers_save=0.2, stragglers=0.2, margin=0.2)


def kill_at(step: int) -> dict:
    return {"at": step, "do": "kill", "signal": int(signal.SIGKILL)}


def exit_at(step: int, code: int, message: str = "as the script says") -> dict:
    return {"at": step, "do": "exit", "code": code, "message": message}


def outcomes(attempts: tuple[Attempt, ...]) -> list[tuple[int, FailureClass | None]]:
    return [(attempt.number, attempt.verdict.failure_class if attempt.verdict else None) for attempt in attempts]


def is_gone(pid: int) -> bool:
    """No such process, or a zombie that only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def pids_of(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in folder.glob("alive-*")]


def test_a_job_that_goes_well_takes_one_attempt(stage):
    scene = stage(steps=20)
    ending = scene.supervisor(hosts=2).run()
    assert ending.decision == Finish()
    assert ending.exit_code == 0
    assert outcomes(ending.attempts) == [(1, FailureClass.DONE)]
    assert (ending.attempts[0].step, ending.attempts[0].checkpoint_step) == (20, 20)
    assert scene.display.messages == []
    assert scene.display.closed == 1


def test_the_display_sees_steps_and_losses(stage):
    scene = stage(steps=30)
    scene.supervisor(hosts=1, step_seconds=0.03).run()
    view = scene.display.views[-1]
    assert (view.name, view.where, view.attempt) == ("tiny", "1 processes", 1)
    assert view.progress.of == 30
    assert view.losses
    assert all(loss == 2.0 + 3.0 / (1 + step) for step, loss in view.losses)


def test_a_killed_process_makes_a_second_attempt_from_the_last_checkpoint(stage):
    scene = stage(steps=40)
    ending = scene.supervisor({"1.1": kill_at(25)}, hosts=2).run()
    assert outcomes(ending.attempts) == [(1, FailureClass.INFRASTRUCTURE), (2, FailureClass.DONE)]
    assert ending.attempts[0].checkpoint_step == 20
    reached = ending.attempts[0].step
    assert scene.display.messages == [
        f"process 1 was killed by SIGKILL at step {reached}; attempt 2 follows",
        "attempt 2 starts from the checkpoint of step 20",
    ]


def test_a_checkpoint_that_nobody_heard_of_is_what_the_next_attempt_starts_from(stage):
    # Process 0 dies right after it has saved, sooner than it is asked for its progress.
    scene = stage(steps=20)
    ending = scene.supervisor({"1.0": {"at": 10, "do": "kill", "signal": 9}}, hosts=1, step_seconds=0.001).run()
    first, second = ending.attempts
    assert first.checkpoint_step is None
    assert second.first_step == 10
    assert scene.display.messages[1] == "attempt 2 starts from the checkpoint of step 10"
    assert [entry["stepsLost"] for entry in ledger.entries(ending.attempts)] == [0, None]


def test_the_ledger_on_disk_knows_of_a_checkpoint_while_the_attempt_runs(stage):
    scene = stage(steps=1000)
    known = []

    def kill_once_known(view):
        known.append(json.loads(scene.folder.attempts.read_text())["attempts"][0]["checkpointStep"])
        if known[-1] is not None:
            raise RuntimeError("as if killed")

    scene.display.watch = kill_once_known
    with pytest.raises(RuntimeError, match="as if killed"):
        scene.supervisor(step_seconds=0.02).run()
    assert known[0] is None and known[-1] >= 10


def test_an_attempt_that_finds_no_checkpoint_although_one_is_known_is_the_last(stage):
    scene = stage(steps=20)
    earlier = Attempt(1, 1, 0.0, ended_at=1.0, verdict=Verdict(FailureClass.USER, 1, "x"), first_step=0, step=9)
    known = replace(earlier, step=19, checkpoint_step=15)
    ending = scene.supervisor(earlier=(known,)).run()
    assert (ending.exit_code, ending.attempts[-1].verdict.message) == (
        46,
        "process 0 ended with exit code 46 (no checkpoint can be restored): no checkpoint, expected step 15",
    )
    assert scene.supervisor(earlier=(earlier,)).run().exit_code == 0


def test_a_restart_of_a_job_that_got_further_comes_at_once(stage):
    scene = stage(steps=40)
    first, second = scene.supervisor({"1.1": kill_at(25)}, hosts=2).run().attempts
    assert second.started_at - first.ended_at < 0.5


def test_each_attempt_has_its_own_logs_and_a_fresh_coordinator_port(stage):
    scene = stage(steps=20)
    scene.supervisor({"1.0": exit_at(12, 1)}, hosts=2).run()
    assert sorted(path.name for path in scene.folder.logs.glob("*.log")) == [
        f"attempt-{attempt}-process-{process}.log" for attempt in (1, 2) for process in (0, 1)
    ]
    assert scene.folder.log(2, 1).read_text() == "attempt 2 process 1\ndone at step 20\n"
    outcome = json.loads(scene.folder.termination_log(1, 0).read_text())
    assert outcome["exitCode"] == 1


def test_a_user_error_is_not_tried_again(stage):
    scene = stage()
    ending = scene.supervisor({"1.0": exit_at(0, 40, "spec.data.trainUrls: no file matches")}).run()
    assert isinstance(ending.decision, Fail)
    assert ending.exit_code == 40
    assert outcomes(ending.attempts) == [(1, FailureClass.USER)]
    assert ending.decision.verdict.message == (
        "process 0 ended with exit code 40 (the job cannot run as written): spec.data.trainUrls: no file matches"
    )


def test_a_budget_that_is_used_up_ends_the_job_with_the_trainers_code(stage):
    scene = stage(steps=40)
    script = {"1.0": exit_at(11, 41), "2.0": exit_at(21, 41), "3.0": exit_at(31, 41)}
    ending = scene.supervisor(script, recovery=RecoverySpec(max_failures=2)).run()
    assert isinstance(ending.decision, Fail)
    assert (ending.exit_code, ending.decision.why) == (41, "spec.recovery.maxFailures allows 2 restarts")
    assert outcomes(ending.attempts) == [(1, FailureClass.DATA), (2, FailureClass.DATA), (3, FailureClass.DATA)]


def test_peers_that_do_not_leave_by_themselves_are_ended(stage):
    """Process 1 is stopped by a signal, so it neither notices that process 0 died nor takes SIGTERM."""
    scene = stage(steps=60)
    script = {"1.1": {"at": 3, "do": "freeze"}, "1.0": kill_at(3)}
    ending = scene.supervisor(script, hosts=2, timeouts=SHORT_TIMEOUTS).run()
    assert outcomes(ending.attempts) == [(1, FailureClass.INFRASTRUCTURE), (2, FailureClass.DONE)]
    assert ending.attempts[0].verdict.message == "process 0 was killed by SIGKILL"


def test_a_frozen_process_0_counts_as_hung(stage):
    scene = stage(steps=40)
    recovery = RecoverySpec(hang_after="500ms")
    ending = scene.supervisor({"1.0": {"at": 20, "do": "freeze"}}, recovery=recovery, step_seconds=0.05).run()
    assert outcomes(ending.attempts) == [(1, FailureClass.INFRASTRUCTURE), (2, FailureClass.DONE)]
    assert ending.attempts[0].verdict.message == "process 0 gave no answer for 500ms (spec.recovery.hangAfter)"


class TestStopping:
    def send(self, scene, *signals: signal.Signals, at_step: int = 5, pause: float = 0.7) -> None:
        """Has the display send the signals to this process, one after the other, once the job trains."""
        left, last = list(signals), [0.0]

        def watch(view) -> None:
            if left and view.progress.step >= at_step and time.monotonic() - last[0] >= pause:
                last[0] = time.monotonic()
                os.kill(os.getpid(), left.pop(0))

        scene.display.watch = watch

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_by_a_signal_saves_and_ends(self, stage, number, code):
        scene = stage(steps=500)
        self.send(scene, number)
        ending = scene.supervisor(hosts=2).run()
        assert ending.decision == Suspend()
        assert ending.exit_code == code
        [attempt] = ending.attempts
        assert attempt.verdict.failure_class is FailureClass.REQUESTED
        assert attempt.step == attempt.checkpoint_step >= 5
        assert all(is_gone(pid) for pid in pids_of(scene.folder.path))

    def test_a_second_supervisor_goes_on_from_there(self, stage):
        scene = stage(steps=60)
        self.send(scene, signal.SIGINT)
        stopped = scene.supervisor(hosts=2).run()
        scene.display.watch = None
        ending = scene.supervisor(hosts=2, earlier=stopped.attempts, compile_seconds=0.6).run()
        assert ending.decision == Finish()
        assert outcomes(ending.attempts) == [(1, FailureClass.REQUESTED), (2, FailureClass.DONE)]
        assert ending.attempts[1].first_step == stopped.attempts[0].step

    def test_processes_that_do_not_save_in_time_are_killed(self, stage):
        scene = stage(steps=1000)
        self.send(scene, signal.SIGINT)
        started = time.monotonic()
        recovery = RecoverySpec(grace_seconds=1)
        ending = scene.supervisor({"1.0": {"at": 2, "do": "deaf"}}, recovery=recovery, timeouts=SHORT_TIMEOUTS).run()
        assert (ending.exit_code, ending.attempts[0].verdict.exit_code) == (130, 137)
        assert time.monotonic() - started < 5

    def test_twice_kills_at_once(self, stage):
        scene = stage(steps=1000)
        self.send(scene, signal.SIGINT, signal.SIGINT)
        ending = scene.supervisor({"1.0": {"at": 2, "do": "deaf"}}, recovery=RecoverySpec(grace_seconds=600)).run()
        assert (ending.exit_code, ending.attempts[0].verdict.exit_code) == (130, 137)
        assert scene.display.messages[-1] == "stopping at once, without saving"

    def test_the_same_signal_twice_within_milliseconds_is_one_wish(self, stage):
        scene = stage(steps=500)
        self.send(scene, signal.SIGINT, signal.SIGINT, pause=0.0)
        ending = scene.supervisor().run()
        assert ending.attempts[0].verdict.exit_code == 42


def test_the_ledger_on_disk_is_what_the_supervisor_knows(stage):
    scene = stage(steps=40)
    ending = scene.supervisor({"1.1": kill_at(25)}, hosts=2).run()
    stored = ledger.read(scene.folder)
    assert ledger.entries(stored) == ledger.entries(ending.attempts)


def test_no_process_is_left_when_the_display_breaks(stage):
    scene = stage(steps=500)

    def watch(view) -> None:
        if view.progress.step >= 5:
            raise RuntimeError("the display broke")

    scene.display.watch = watch
    with pytest.raises(RuntimeError, match="the display broke"):
        scene.supervisor(hosts=2).run()
    pids = pids_of(scene.folder.path)
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_handlers_of_signals_are_put_back(stage):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stage(steps=3).supervisor().run()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
