"""The status that people read, from what was observed and decided."""

from dataclasses import replace

import pytest
from lateen_api.errors import JobError
from lateen_api.progress import Phase, Progress, SlowestProcess
from lateen_api.spec import RecoverySpec
from lateen_api.status import STATES, AttemptStatus, ConditionType, JobStatus, PlanStatus, TimeStatus
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.attempt_codec import from_status, seconds, timestamp, to_status
from lateen_operator.attempts import Attempt, Fail, Finish, Start, Wait
from lateen_operator.events import Event, events
from lateen_operator.observation import Observation, Process, Target
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.progress_history import update_from_exit, update_from_progress
from lateen_operator.reconcile import RecordEnd, Refuse, Suspend, Terminate
from lateen_operator.status_builder import build_status, forgotten, short_duration
from lateen_operator.stragglers import SlowProcess
from lateen_operator.verdict import Verdict, classify

T0 = seconds("2030-01-31T12:00:00Z")
TARGET = Target(RecoverySpec(), hosts=2, host_counts=(1, 2))
RUNNING = Attempt(1, 2, started_at=T0, wanted_hosts=2)
TRAINING = Progress(
    phase=Phase.TRAINING, since=T0 + 60, step=100, of=1000, tokens=10_000, loss=2.123456789, tokens_per_second=50.0
)
TWO = Observation(TARGET, (RUNNING,), processes=(Process(0), Process(1)), progress=TRAINING)
QUIET = Wait(float("inf"))
LOST = Verdict(FailureClass.INFRASTRUCTURE, 137, "process 1 is lost", reason="NodeLost", node="n1")


def status_of(seen: Observation, decision=QUIET, previous: JobStatus | None = None, now: float = T0 + 60) -> JobStatus:
    status = build_status(seen, decision, previous, plan=None, generation=3, now=now)
    assert status.state in STATES
    return status


def condition(status: JobStatus, kind: ConditionType):
    return next(condition for condition in status.conditions if condition.type is kind)


def holding(status: JobStatus) -> set[str]:
    return {condition.type.value for condition in status.conditions if condition.status == "True"}


class TestStates:
    def test_training(self):
        status = status_of(TWO)
        assert (status.state, status.hosts, status.attempt_count) == ("Training", 2, 1)
        assert holding(status) == {"Accepted", "Running"}

    def test_queued_tells_for_what_it_waits(self):
        waiting = Process(1, placed=False, running=False, waiting_for="0/3 nodes are available")
        status = status_of(replace(TWO, processes=(Process(0), waiting), progress=None))
        assert status.state == "Queued"
        assert condition(status, ConditionType.QUEUED).message == (
            "1 of 2 hosts have a machine: 0/3 nodes are available."
        )

    def test_starting_names_a_picture_that_cannot_be_pulled(self):
        waiting = Process(1, running=False, waiting_for="ErrImagePull: no such image")
        status = status_of(replace(TWO, processes=(Process(0), waiting), progress=None))
        assert (status.state, condition(status, ConditionType.RUNNING).message) == (
            "Starting",
            "1 of 2 processes do not run yet: ErrImagePull: no such image.",
        )

    def test_refused_says_why_and_that_nothing_runs(self):
        error = JobError("spec.model.numHeads", "5 does not divide 128")
        status = status_of(Observation(TARGET, refusal=error), Refuse(error))
        assert status.state == "Refused"
        assert condition(status, ConditionType.ACCEPTED).message == "spec.model.numHeads: 5 does not divide 128"
        assert holding(status) == set()

    def test_suspended(self):
        assert holding(status_of(Observation(TARGET), Suspend())) == {"Accepted", "Suspended"}

    def test_complete(self):
        done = replace(RUNNING, verdict=classify([ProcessExit(0, 0, at=T0)]), ended_at=T0)
        assert holding(status_of(Observation(TARGET, (done,)), Finish())) == {"Accepted", "Complete"}

    def test_failed_carries_the_cause(self):
        verdict = classify(
            [ProcessExit(0, 40, at=T0, termination=TerminationMessage(ExitCode.USER_ERROR, "no file x"))]
        )
        failed = replace(RUNNING, verdict=verdict, ended_at=T0)
        status = status_of(Observation(TARGET, (failed,)), Fail(verdict, "another attempt would end the same way"))
        assert (status.state, condition(status, ConditionType.FAILED).reason) == ("Failed", "UserError")
        assert condition(status, ConditionType.FAILED).message == (
            "Process 0 ended with exit code 40 (the job cannot run as written): no file x. "
            "There is no further attempt: another attempt would end the same way."
        )

    def test_stopping(self):
        asked = Verdict(FailureClass.REQUESTED, 42, "it was asked to stop", reason="Stopped")
        assert status_of(TWO, Terminate(asked)).state == "Stopping"

    def test_fewer_hosts_than_wanted_are_degraded(self):
        seen = replace(TWO, attempts=(replace(RUNNING, hosts=1),), processes=(Process(0),))
        message = condition(status_of(seen), ConditionType.DEGRADED).message
        assert message == "It runs on 1 of 2 hosts until there are machines."


class TestStraggling:
    SLOWEST = SlowestProcess(
        process=1, idle_seconds=0.8, data_wait_seconds=0.7, others_idle_seconds=0.0, step_seconds=1.0
    )
    SLOW = replace(
        TWO,
        processes=(Process(0, node="n0"), Process(1, node="n1")),
        progress=TRAINING.model_copy(update={"slowest_process": SLOWEST}),
        slow=SlowProcess(1, since=T0 + 60),
    )

    def test_one_that_is_slow_for_long_is_named_with_its_node(self):
        status = status_of(self.SLOW, now=T0 + 361)
        found = condition(status, ConditionType.STRAGGLING)
        assert (found.status, found.reason) == ("True", "SlowData")
        assert found.message.startswith("All processes wait for process 1 on n1: ")
        assert "Straggling" not in holding(status_of(self.SLOW, now=T0 + 359))

    def test_that_it_begins_is_an_event_and_that_it_lasts_is_none(self):
        before = status_of(self.SLOW, now=T0 + 100)
        begun = status_of(self.SLOW, previous=before, now=T0 + 361)
        [event] = events(before, begun)
        assert (event.type, event.reason) == ("Warning", "SlowData")
        assert event.message == condition(begun, ConditionType.STRAGGLING).message
        assert events(begun, status_of(self.SLOW, previous=begun, now=T0 + 370)) == []

    def test_it_stands_when_the_operator_has_started_again(self):
        begun = status_of(self.SLOW, now=T0 + 400)
        heard_once = replace(self.SLOW, slow=SlowProcess(1, since=T0 + 500))
        assert "Straggling" in holding(status_of(heard_once, previous=begun, now=T0 + 500))

    def test_it_is_over_when_no_process_is_slow_or_they_leave(self):
        begun = status_of(self.SLOW, now=T0 + 400)
        for seen in (replace(self.SLOW, slow=None), replace(self.SLOW, terminating_since=T0 + 400)):
            assert "Straggling" not in holding(status_of(seen, previous=begun, now=T0 + 401))


class TestConditions:
    def test_keep_the_time_of_their_last_change(self):
        first = status_of(TWO)
        later = status_of(TWO, previous=first, now=T0 + 100)
        assert later.conditions == first.conditions
        assert condition(later, ConditionType.RUNNING).last_transition_time == "2030-01-31T12:01:00.000Z"

    def test_a_round_that_learns_nothing_writes_the_same_status(self):
        first = status_of(TWO)
        assert status_of(TWO, previous=first).model_dump() == first.model_dump()


class TestProgress:
    def test_is_rounded_and_has_an_eta(self):
        progress = status_of(TWO).progress
        assert progress is not None
        assert (progress.step, progress.percent, progress.loss, progress.eta) == (100, 10, 2.1235, "30m")

    def test_stays_when_nobody_answers(self):
        first = status_of(TWO)
        assert status_of(replace(TWO, progress=None), previous=first).progress == first.progress

    def test_ends_with_the_last_words_of_the_attempt(self):
        first = status_of(TWO)
        done = replace(RUNNING, verdict=classify([ProcessExit(0, 0, at=T0)]), ended_at=T0, step=1000)
        after = status_of(Observation(TARGET, (done,)), Finish(), previous=first)
        assert after.progress is not None
        assert (after.progress.step, after.progress.percent, after.progress.eta) == (1000, 100, None)

    def test_is_the_last_words_alone_where_nobody_asked_or_the_status_was_wiped(self):
        done = replace(RUNNING, verdict=classify([ProcessExit(0, 0, at=T0)]), ended_at=T0, step=1000)
        after = status_of(Observation(replace(TARGET, steps=1000), (done,)), Finish(), previous=JobStatus())
        assert after.progress is not None
        assert (after.progress.step, after.progress.of, after.progress.percent) == (1000, 1000, 100)


class TestLedger:
    def test_a_start_is_an_entry(self):
        ended = replace(RUNNING, verdict=LOST, ended_at=T0 + 50, checkpoint="c/step-9", checkpoint_step=9)
        status = status_of(Observation(TARGET, (ended,)), Start(2, 1))
        assert [(entry.number, entry.hosts, entry.failure_class) for entry in status.attempts] == [
            (1, 2, "Infrastructure"),
            (2, 1, None),
        ]
        assert status.last_checkpoint is not None
        assert status.last_checkpoint.step == 9

    def test_a_close_is_the_end_of_one_when_its_last_process_ended(self):
        dead = (Process(0, end=ProcessExit(0, 44, at=T0 + 31)), Process(1, end=ProcessExit(1, 137, at=T0 + 30)))
        attempt = replace(RUNNING, first_step=0, step=25, checkpoint_step=20)
        seen = Observation(TARGET, (attempt,), processes=dead)
        [entry] = status_of(seen, RecordEnd(LOST)).attempts
        assert (entry.ended, entry.reason, entry.node, entry.steps_lost) == (
            "2030-01-31T12:00:31.000Z",
            "NodeLost",
            "n1",
            5,
        )

    def test_steps_are_lost_only_after_what_the_next_attempt_restored(self):
        first = replace(RUNNING, verdict=LOST, ended_at=T0 + 50, first_step=0, step=34, checkpoint_step=20)
        second = Attempt(2, 2, started_at=T0 + 52, wanted_hosts=2)
        assert status_of(replace(TWO, attempts=(first, second))).attempts[0].steps_lost == 14
        second = replace(second, first_step=40, step=40)
        assert status_of(replace(TWO, attempts=(first, second))).attempts[0].steps_lost == 0

    def test_the_time_to_the_next_step_is_noted_at_the_attempt_before(self):
        ended = replace(RUNNING, verdict=LOST, ended_at=T0 + 50)
        present = Attempt(2, 2, started_at=T0 + 52, wanted_hosts=2, first_step=99, step=100)
        seen = replace(TWO, attempts=(ended, present))
        assert status_of(seen).attempts[0].seconds_to_next_step == 10.0

    def test_an_attempt_that_did_not_get_to_train_is_part_of_the_time_that_was_lost(self):
        first = replace(RUNNING, verdict=LOST, ended_at=T0 + 30)
        second = Attempt(2, 2, started_at=T0 + 31, verdict=LOST, ended_at=T0 + 50, wanted_hosts=2)
        present = Attempt(3, 2, started_at=T0 + 52, wanted_hosts=2, first_step=99, step=100)
        seen = replace(TWO, attempts=(first, second, present))
        assert [entry.seconds_to_next_step for entry in status_of(seen).attempts] == [30.0, 10.0, None]

    def test_only_the_newest_attempts_are_kept_and_the_budgets_know_the_others(self):
        ended = [replace(RUNNING, number=n, verdict=LOST, ended_at=T0 + n) for n in range(1, 31)]
        status = status_of(Observation(TARGET, tuple(ended)), Wait(T0 + 99))
        assert [entry.number for entry in status.attempts] == list(range(11, 31))
        assert status.budgets.infrastructure_failures == 30
        kept = tuple(from_status(entry) for entry in status.attempts)
        assert forgotten(status, kept)[FailureClass.INFRASTRUCTURE] == 10

    def test_an_entry_is_read_as_it_was_written(self):
        attempt = replace(RUNNING, verdict=replace(LOST, next_hosts=1), ended_at=T0 + 1, first_step=1, digest="d")
        assert from_status(to_status(attempt)) == attempt
        assert from_status(AttemptStatus(number=1, hosts=1, started=timestamp(T0))).verdict is None


class TestLanes:
    """They belong to the bits of the losses, so that they outlive the objects of attempts."""

    plan = PlanStatus(
        accelerator="cpu", mesh="1x1", devices=1, microbatch=1, accumulation_steps=1, lanes=64, parameters=1,
        tokens_per_step=1,
    )  # fmt: skip
    begun = JobStatus(lanes=16)

    def lanes(self, seen: Observation, decision=QUIET, previous: JobStatus | None = None, lanes: int | None = 64):
        plan = self.plan.model_copy(update={"lanes": lanes})
        return build_status(seen, decision, previous, plan=plan, generation=3, now=T0 + 60).lanes

    def test_are_those_of_the_first_attempt(self):
        assert self.lanes(Observation(TARGET)) is None
        assert self.lanes(Observation(TARGET), Start(1, 2)) == 64
        assert self.lanes(TWO) == 64

    def test_stay_while_an_attempt_with_others_has_not_trained(self):
        ended = Observation(TARGET, (replace(RUNNING, verdict=LOST, ended_at=T0 + 50),))
        assert self.lanes(ended, Start(2, 2), self.begun) == 16
        assert self.lanes(TWO, QUIET, self.begun) == 16

    def test_are_others_once_an_attempt_trains_with_them(self):
        trains = replace(TWO, attempts=(replace(RUNNING, first_step=0, step=1),))
        assert self.lanes(trains, QUIET, self.begun) == 64
        former_text = replace(trains, target=replace(TARGET, digest="new"))
        assert self.lanes(former_text, QUIET, self.begun) == 16

    def test_stay_while_the_job_is_refused_or_fast(self):
        assert self.lanes(TWO, QUIET, self.begun, lanes=None) == 16
        assert status_of(TWO, previous=self.begun).lanes == 16


class TestAvoidedNodes:
    lost = replace(RUNNING, verdict=LOST, ended_at=T0 + 50)

    def test_are_told_with_the_reason_and_the_time(self):
        [node] = status_of(Observation(TARGET, (self.lost,)), Start(2, 2)).avoided_nodes
        assert (node.name, node.reason, node.message) == ("n1", "NodeLost", "Attempt 1 lost it.")
        assert node.until == "2030-01-31T12:01:50.000Z"
        assert status_of(Observation(TARGET, (self.lost,)), now=T0 + 111).avoided_nodes == []

    def test_are_none_of_a_job_that_is_over_or_cannot_avoid_any(self):
        over = Fail(LOST, "spec.recovery.maxInfrastructureFailures allows no restart")
        assert status_of(Observation(TARGET, (self.lost,)), over).avoided_nodes == []
        slices = Observation(replace(TARGET, avoids_nodes=False), (self.lost,))
        assert status_of(slices).avoided_nodes == []


class TestGoodput:
    def test_is_the_part_of_the_time_that_went_into_steps_that_count(self):
        first = replace(RUNNING, verdict=LOST, ended_at=T0 + 100, first_step=0, step=100, checkpoint_step=80)
        phases = {Phase.STARTING: 20.0, Phase.TRAINING: 80.0}
        second = Attempt(
            2, 2, started_at=T0 + 100, first_step=80, step=180, process_started_at=T0 + 100, phase_seconds=phases
        )
        seen = replace(TWO, attempts=(first, second), created_at=T0)
        status = status_of(seen, now=T0 + 200)
        assert status.goodput == pytest.approx((80 + 80) / 200)
        assert status.time == TimeStatus(training=160, lost_steps=20, starting=20)

    def test_the_time_of_attempts_that_are_not_kept_any_more_is(self):
        def attempt(number: int) -> Attempt:
            started = T0 + 10 * number
            ended = started + 8 if number < 25 else None
            return Attempt(
                number, 2, started, ended, LOST if ended else None,
                first_step=4 * number - 4, step=4 * number, checkpoint_step=4 * number,
                process_started_at=started + 1, last_phase=Phase.TRAINING, phase_seconds={Phase.TRAINING: 7.0},
            )  # fmt: skip

        previous = None
        for number in range(1, 26):
            kept = [] if previous is None else [from_status(entry) for entry in previous.attempts]
            seen = replace(TWO, attempts=(*kept, attempt(number)), created_at=T0)
            previous = status_of(seen, previous=previous, now=T0 + 10 * number + 8)
        assert previous is not None and previous.time is not None
        assert len(previous.attempts) == 20
        assert previous.time == TimeStatus(training=25 * 7, waiting_for_machines=10 + 25, recovering=24 * 2)


@pytest.mark.parametrize(
    ("length", "text"),
    [(0, "0s"), (45, "45s"), (60, "1m"), (7800, "2h10m"), (86_400, "1d"), (273_600, "3d4h"), (86_460, "1d")],
)
def test_durations_are_short(length, text):
    assert short_duration(length) == text


class TestEvents:
    def test_the_life_of_an_attempt(self):
        empty, started = JobStatus(), status_of(Observation(TARGET), Start(1, 2))
        assert events(empty, started) == [Event("Normal", "AttemptStarted", "Attempt 1 starts on 2 hosts.")]
        training = status_of(TWO, previous=started)
        assert events(started, training) == []
        attempt = replace(RUNNING, first_step=0, step=1000, checkpoint_step=995)
        dead = replace(TWO, attempts=(attempt,), processes=(Process(0, end=ProcessExit(0, 137, at=T0 + 1)),))
        ended = status_of(dead, RecordEnd(LOST), previous=training)
        assert events(training, ended) == [
            Event(
                "Warning",
                "AttemptInfrastructure",
                "Attempt 1 ended at step 1,000, 5 steps are trained again: process 1 is lost.",
            )
        ]

    def test_progress_is_none(self):
        first = status_of(TWO)
        further = replace(TWO, progress=TRAINING.model_copy(update={"step": 200}))
        assert events(first, status_of(further, previous=first)) == []

    def test_a_refusal_is_told_once(self):
        error = JobError("spec.model.numHeads", "5 does not divide 128")
        refused = status_of(Observation(TARGET, refusal=error), Refuse(error))
        assert events(None, refused) == [Event("Warning", "Refused", "spec.model.numHeads: 5 does not divide 128")]
        assert events(refused, refused) == []


class TestHeard:
    def test_reports_before_the_state_is_there_say_nothing(self):
        assert update_from_progress(RUNNING, Progress(phase=Phase.RESTORING, since=T0)) == RUNNING

    def test_the_first_report_says_where_it_began(self):
        compiling = Progress(phase=Phase.COMPILING, since=T0, step=40, of=100)
        assert update_from_progress(RUNNING, compiling).first_step == 40

    def test_a_late_report_says_where_it_began_too(self):
        late = Progress(phase=Phase.TRAINING, since=T0, start_step=40, step=70, of=100, last_checkpoint_step=60)
        assert update_from_progress(RUNNING, late).first_step == 40

    def test_a_termination_message_says_where_an_attempt_began_that_nobody_asked(self):
        outcome = TerminationMessage(ExitCode.DONE, "done", step=40, checkpoint="x/step-00000040", start_step=40)
        attempt = update_from_exit(replace(RUNNING, checkpoint_step=20), ProcessExit(0, 0, at=T0, termination=outcome))
        assert (attempt.first_step, attempt.checkpoint_step) == (40, 40)

    def test_a_termination_message_is_newer(self):
        outcome = TerminationMessage(ExitCode.SAVED, "saved", step=50, checkpoint="x/step-00000050")
        attempt = update_from_exit(
            update_from_progress(RUNNING, TRAINING), ProcessExit(0, 42, at=T0, termination=outcome)
        )
        assert (attempt.step, attempt.checkpoint_step) == (100, 50)


def test_silence_of_a_process_that_was_asked_to_terminate_is_no_warning():
    silent = replace(TWO, silent_since=T0 + 50)
    answering = status_of(TWO)
    assert [event.reason for event in events(answering, status_of(silent))] == ["NoAnswer"]
    assert events(answering, status_of(replace(silent, terminating_since=T0 + 49))) == []
    assert events(answering, status_of(silent, Terminate())) == []
