"""The life of a job, decision by decision."""

import math
from dataclasses import replace

import pytest
from lateen_api.errors import JobError
from lateen_api.progress import Phase, Progress
from lateen_api.spec import RecoverySpec
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.attempts import Attempt, Fail, Finish, Start, Wait
from lateen_operator.node_exclusion import avoided_nodes, nodes_to_avoid
from lateen_operator.observation import Observation, Preparation, Process, Target
from lateen_operator.process_exit import NODE_LOST, FailureClass, ProcessExit
from lateen_operator.reconcile import Expire, Kill, Prepare, RecordEnd, Refuse, Suspend, Terminate, Timeouts, reconcile
from lateen_operator.resize import probes_wanted
from lateen_operator.status_builder import build_status
from lateen_operator.verdict import Verdict, classify

RECOVERY = RecoverySpec(grace_seconds=15, hang_after="10m", start_deadline="30m")
RUNNING = Attempt(1, 2, started_at=0.0)
TRAINING = Progress(phase=Phase.TRAINING, since=0.0, step=10, of=100)
TARGET = Target(RECOVERY, hosts=2)


def seen_with(*ends: ProcessExit, alive: tuple[int, ...] = (), **more) -> Observation:
    processes = (*(Process(number) for number in alive), *(Process(end.process, end=end) for end in ends))
    return Observation(TARGET, (RUNNING,), processes=processes, **more)


def between(*attempts: Attempt, **more) -> Observation:
    return Observation(TARGET, attempts, **more)


TWO = seen_with(alive=(0, 1), progress=TRAINING)
QUIET = Wait(math.inf)


def closed(code: int, *, step: int = 10) -> Attempt:
    verdict = classify([ProcessExit(0, code, at=100.0)])
    return replace(RUNNING, ended_at=100.0, verdict=verdict, first_step=0, step=step)


def at(now: float, seen: Observation):
    return reconcile(seen, now, timeouts=Timeouts())


def test_a_job_without_attempts_is_started():
    assert at(0.0, between()) == Start(1, 2)


def test_processes_that_run_and_answer_are_left_alone():
    assert at(1e6, TWO) == QUIET


def test_an_attempt_all_of_whose_processes_ended_is_closed_with_its_verdict():
    seen = seen_with(ProcessExit(1, -9, at=1.0), ProcessExit(0, 44, at=2.0))
    decision = at(3.0, seen)
    assert isinstance(decision, RecordEnd)
    assert decision.verdict.message == "process 1 was killed by SIGKILL"


def test_a_complete_attempt_finishes_the_job():
    assert at(200.0, between(closed(0))) == Finish()


def test_a_killed_attempt_is_followed_by_another():
    assert at(100.0, between(closed(-9))) == Start(2, 2)


def test_a_user_error_ends_the_job():
    decision = at(200.0, between(closed(40)))
    assert isinstance(decision, Fail)
    assert decision.verdict.exit_code == 40


class TestPeersOfADeadProcess:
    seen = seen_with(ProcessExit(1, -9, at=50.0), alive=(0,))

    def test_are_given_five_seconds_to_leave_by_themselves(self):
        assert at(54.9, self.seen) == Wait(55.0)

    def test_are_told_to_leave_then(self):
        assert at(55.0, self.seen) == Terminate()

    def test_are_killed_five_seconds_later(self):
        told = replace(self.seen, terminating_since=55.0)
        assert at(59.9, told) == Wait(60.0)
        assert at(60.0, told) == Kill()

    def test_are_waited_for_once_killed(self):
        assert at(99.0, replace(self.seen, terminating_since=55.0, killed=True)) == QUIET


def test_peers_of_a_process_that_somebody_else_stopped_have_the_grace_time():
    seen = seen_with(ProcessExit(1, 42, at=50.0), alive=(0,))
    assert at(51.0, seen) == Wait(65.0)
    assert at(65.0, seen) == Terminate()


def test_stragglers_behind_a_complete_process_0_have_a_minute():
    seen = seen_with(ProcessExit(0, 0, at=50.0), alive=(1,))
    assert at(51.0, seen) == Wait(110.0)
    assert at(110.0, seen) == Terminate()


def test_process_0_may_go_on_as_long_as_it_likes_after_its_peers_are_done():
    seen = seen_with(ProcessExit(1, 0, at=50.0), alive=(0,))
    assert at(1e6, seen) == QUIET


class TestStopping:
    asked = replace(TWO, stop_requests=1)

    def test_tells_all_processes(self):
        decision = at(50.0, self.asked)
        assert isinstance(decision, Terminate)
        assert decision.cause is not None
        assert (decision.cause.failure_class, decision.cause.reason) == (FailureClass.REQUESTED, "Stopped")

    def test_waits_for_the_grace_time_and_a_margin(self):
        told = replace(self.asked, terminating_since=50.0)
        assert at(69.9, told) == Wait(70.0)
        assert at(70.0, told) == Kill()

    def test_twice_kills(self):
        assert at(50.1, replace(self.asked, stop_requests=2, terminating_since=50.0)) == Kill()

    @pytest.mark.parametrize("code", [42, 47, -15, -9, 44])
    def test_ends_the_job_when_the_attempt_ended(self, code):
        assert at(100.0, between(closed(code), stop_requests=1)) == Suspend()

    def test_between_two_attempts_ends_the_job(self):
        assert at(100.0, between(closed(-9, step=0), stop_requests=1)) == Suspend()

    def test_before_the_first_attempt_ends_the_job(self):
        assert at(0.0, between(stop_requests=1)) == Suspend()

    def test_a_job_that_became_complete_meanwhile_is_complete(self):
        assert at(100.0, between(closed(0), stop_requests=1)) == Finish()

    def test_a_job_that_failed_by_itself_meanwhile_has_failed(self):
        assert isinstance(at(100.0, between(closed(40), stop_requests=1)), Fail)


class TestSilence:
    def test_shorter_than_hang_after_is_waited_out(self):
        assert at(100.0 + 599, replace(TWO, silent_since=100.0)) == Wait(700.0)

    def test_of_hang_after_is_a_hang(self):
        processes = (Process(0, node="n0"), Process(1, node="n1"))
        decision = at(700.0, replace(TWO, silent_since=100.0, processes=processes))
        assert isinstance(decision, Kill)
        assert decision.cause is not None
        assert (decision.cause.process, decision.cause.node) == (0, "n0")
        assert (decision.cause.failure_class, decision.cause.exit_code) == (FailureClass.INFRASTRUCTURE, 45)
        assert decision.cause.message == "process 0 gave no answer for 10m (spec.recovery.hangAfter)"

    def test_before_the_first_answer_may_last_the_start_deadline(self):
        starting = replace(TWO, progress=None, silent_since=0.0)
        assert at(1799.0, starting) == Wait(1800.0)
        assert isinstance(at(1800.0, starting), Kill)

    def test_gives_the_verdict_whatever_the_killed_processes_end_with(self):
        kill = at(700.0, replace(TWO, silent_since=100.0))
        assert isinstance(kill, Kill)
        assert kill.cause is not None
        dead = (ProcessExit(0, -9, at=700.1, asked=True), ProcessExit(1, 44, at=700.2))
        assert at(701.0, seen_with(*dead, cause=kill.cause)) == RecordEnd(kill.cause)


def test_a_process_that_answers_but_tells_nothing_new_for_long_is_a_hang():
    seen = replace(TWO, moved_at=100.0)
    assert at(1309.0, seen) == Wait(1310.0)
    decision = at(1310.0, seen)
    assert isinstance(decision, Kill)
    assert decision.cause is not None
    assert (decision.cause.reason, decision.cause.process) == ("Hang", None)


@pytest.mark.parametrize("phase", [Phase.EVALUATING, Phase.SAVING, Phase.COMPILING])
def test_phases_that_may_last_are_left_to_the_trainers_own_watchdog(phase):
    seen = replace(TWO, moved_at=100.0, progress=replace_progress(phase))
    assert at(1e6, seen) == QUIET


def replace_progress(phase: Phase) -> Progress:
    return TRAINING.model_copy(update={"phase": phase})


class TestSpecChanges:
    attempt = replace(RUNNING, digest="old", wanted_hosts=2)

    def seen(self, **target) -> Observation:
        return replace(TWO, attempts=(self.attempt,), target=replace(TARGET, **{"digest": "old", **target}))

    def test_nothing_changed(self):
        assert at(10.0, self.seen()) == QUIET

    def test_another_text_ends_the_attempt_as_asked(self):
        decision = at(10.0, self.seen(digest="new"))
        assert isinstance(decision, Terminate)
        assert decision.cause is not None
        assert (decision.cause.failure_class, decision.cause.reason) == (FailureClass.REQUESTED, "SpecChanged")

    def test_another_number_of_hosts_too_and_the_next_attempt_has_it(self):
        decision = at(10.0, self.seen(hosts=1, host_counts=(1, 2)))
        assert isinstance(decision, Terminate)
        assert decision.cause is not None
        assert (decision.cause.reason, decision.cause.next_hosts) == ("Resized", 1)
        ended = replace(self.attempt, verdict=decision.cause, ended_at=20.0)
        after = replace(self.seen(hosts=1, host_counts=(1, 2)), attempts=(ended,), processes=())
        assert at(20.0, after) == Start(2, 1)

    def test_a_number_that_the_attempt_has_anyway_changes_nothing(self):
        attempt = replace(self.attempt, hosts=1)
        assert at(10.0, replace(self.seen(hosts=1), attempts=(attempt,))) == QUIET

    def test_a_refused_text_lets_the_attempt_of_the_old_one_go_on(self):
        refused = replace(self.seen(digest="new"), refusal=JobError("spec.model", "wrong"))
        assert at(10.0, refused) == QUIET

    def test_a_refused_text_starts_nothing(self):
        error = JobError("spec.model", "wrong")
        assert at(10.0, between(refusal=error)) == Refuse(error)
        assert at(10.0, between(closed(-9), refusal=error)) == Refuse(error)

    def test_a_failed_job_is_tried_again_once_its_text_is_mended(self):
        failed = replace(closed(40), digest="old")
        seen = Observation(replace(TARGET, digest="old"), (failed,))
        assert isinstance(at(200.0, seen), Fail)
        assert at(200.0, replace(seen, target=replace(TARGET, digest="new"))) == Start(2, 2)

    def test_a_complete_job_goes_on_when_it_gets_more_steps(self):
        seen = between(closed(0, step=100))
        assert at(200.0, replace(seen, target=replace(TARGET, steps=100))) == Finish()
        assert at(200.0, replace(seen, target=replace(TARGET, steps=200))) == Start(2, 2)


class TestCapacity:
    target = replace(TARGET, hosts=4, host_counts=(1, 2, 4), resize_after=60.0)
    attempt = replace(RUNNING, hosts=4, wanted_hosts=4)

    def waiting(self, placed: int) -> Observation:
        up = tuple(Process(number, running=False, waiting_since=5.0) for number in range(placed))
        down = tuple(Process(n, placed=False, running=False, waiting_for="no node") for n in range(placed, 4))
        return Observation(self.target, (self.attempt,), processes=up + down)

    def test_that_stays_away_is_waited_for_a_while(self):
        assert at(59.0, self.waiting(3)) == Wait(60.0)

    def test_that_stays_away_longer_makes_the_job_go_on_with_what_there_is(self):
        decision = at(60.0, self.waiting(3))
        assert isinstance(decision, Terminate)
        assert decision.cause is not None
        assert (decision.cause.reason, decision.cause.next_hosts) == ("CapacityAway", 2)

    def test_of_not_even_one_host_is_waited_for(self):
        assert at(1e6, self.waiting(0)) == QUIET

    def test_is_waited_for_without_end_where_the_job_does_not_say_otherwise(self):
        patient = replace(self.waiting(3), target=replace(self.target, resize_after=None))
        assert at(60.0, patient) == Wait(1805.0)

    def test_a_gang_that_is_not_complete_by_the_deadline_is_started_anew(self):
        fixed = replace(self.waiting(3), target=replace(self.target, resize_after=None))
        decision = at(1805.0, fixed)
        assert isinstance(decision, Kill)
        assert decision.cause is not None
        assert decision.cause.message == (
            "not all processes ran within 30m (spec.recovery.startDeadline): "
            "process 0 waits: its program has not started, and 3 others"
        )

    def test_a_resized_job_keeps_its_size_in_the_attempts_after(self):
        verdict = Verdict(FailureClass.REQUESTED, 42, "less", next_hosts=2)
        small = replace(self.attempt, verdict=verdict, ended_at=100.0)
        crashed = replace(closed(-9), number=2, hosts=2, wanted_hosts=4)
        assert at(100.0, Observation(self.target, (small,))) == Start(2, 2)
        assert at(200.0, Observation(self.target, (small, crashed))) == Start(3, 2)

    def test_capacity_probes_look_for_the_next_larger_size(self):
        seen = replace(TWO, attempts=(replace(RUNNING, wanted_hosts=4),), target=self.target)
        assert probes_wanted(seen) == 2
        assert probes_wanted(replace(seen, target=replace(self.target, resize_after=None))) == 0
        assert probes_wanted(replace(seen, terminating_since=5.0)) == 0

    def test_that_is_back_makes_the_job_grow_at_a_checkpoint(self):
        seen = replace(TWO, attempts=(replace(RUNNING, wanted_hosts=4),), target=self.target)
        assert at(10.0, replace(seen, probes_placed=1)) == QUIET
        decision = at(10.0, replace(seen, probes_placed=2))
        assert isinstance(decision, Terminate)
        assert decision.cause is not None
        assert (decision.cause.reason, decision.cause.next_hosts) == ("CapacityBack", 4)


class TestAvoidance:
    def failed(self, node: str, *, reason: str, step: int = 0, ended_at: float = 100.0) -> Attempt:
        verdict = Verdict(FailureClass.INFRASTRUCTURE, 137, "lost", reason=reason, node=node)
        return replace(RUNNING, verdict=verdict, ended_at=ended_at, first_step=0, step=step)

    def test_a_lost_node_is_avoided_for_a_minute(self):
        lost = self.failed("a", reason=NODE_LOST, step=10)
        assert nodes_to_avoid([lost], 160.0) == ("a",)
        assert nodes_to_avoid([lost], 161.0) == ()

    def test_two_failures_before_the_first_step_make_a_node_avoided(self):
        early = self.failed("b", reason="SIGKILL")
        assert nodes_to_avoid([early], 200.0) == ()
        assert nodes_to_avoid([early, early], 200.0) == ("b",)

    def test_failures_after_steps_were_trained_do_not(self):
        late = self.failed("b", reason="SIGKILL", step=10)
        assert nodes_to_avoid([late, late], 200.0) == ()

    def test_the_next_attempt_is_told(self):
        lost = self.failed("a", reason=NODE_LOST, step=10)
        assert at(100.0, between(lost)) == Start(2, 2, ("a",))

    def test_hosts_of_a_slice_are_not_avoided_one_by_one(self):
        slices = replace(TARGET, avoids_nodes=False)
        seen = Observation(slices, (self.failed("a", reason=NODE_LOST, step=10),))
        assert at(100.0, seen) == Start(2, 2)

    def test_says_why_and_until_when(self):
        early = [
            replace(self.failed("b", reason="SIGKILL", ended_at=at), number=number)
            for number, at in enumerate((100.0, 200.0, 300.0), 1)
        ]
        [node] = avoided_nodes([*early, self.failed("b", reason=NODE_LOST, step=10, ended_at=310.0)], 320.0)
        assert (node.name, node.reason, node.until) == ("b", "FailedBeforeFirstStep", 3800.0)
        assert node.message == "Attempts 1, 2, 3 failed on it before their first step."
        assert nodes_to_avoid(early, 3800.0) == ("b",)
        assert nodes_to_avoid(early, 3801.0) == ()

    @pytest.mark.parametrize("frozen_twice", [True, False], ids=["it is named", "nobody is named"])
    def test_a_process_that_freezes_twice_keeps_the_job_off_its_node_and_not_off_its_peers(self, frozen_twice: bool):
        said = TerminationMessage(
            ExitCode.LOST_PEER, "Process 1 has been silent.", lost_process=1 if frozen_twice else None
        )
        ends = [
            ProcessExit(0, 44, at=90.0, termination=said, node="good"),
            ProcessExit(1, 137, at=100.0, asked=True, node="bad"),
        ]
        attempts = [
            replace(RUNNING, number=number, verdict=classify(ends), ended_at=100.0, first_step=0, step=0)
            for number in (1, 2)
        ]
        assert at(200.0, between(*attempts)) == Start(3, 2, ("bad",) if frozen_twice else ())


class TestTimeToLive:
    target = replace(TARGET, ttl=60.0)

    @pytest.mark.parametrize("code", [0, 40])
    def test_deletes_the_job_after_its_end(self, code):
        seen = Observation(self.target, (closed(code),))
        assert isinstance(at(159.0, seen), Finish | Fail)
        assert at(160.0, seen) == Expire()


def test_an_attempt_whose_processes_all_disappeared_is_closed():
    decision = at(10.0, Observation(TARGET, (RUNNING,)))
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.reason) == (FailureClass.PLANNED, "Deleted")


def test_processes_that_saved_since_one_was_evicted_are_its_echo():
    evicted = ProcessExit(1, 42, at=50.2, reason="EvictionByEvictionAPI", node="n2")
    decision = at(51.0, seen_with(ProcessExit(0, 42, at=50.1), evicted))
    assert isinstance(decision, RecordEnd)
    assert decision.verdict.message == (
        "process 1 had to leave on node n2 (EvictionByEvictionAPI), after it had saved its state"
    )
    assert (decision.verdict.failure_class, decision.verdict.node) == (FailureClass.PLANNED, "n2")


def test_what_older_attempts_took_from_a_budget_counts():
    recovery = RecoverySpec(max_infrastructure_failures=2)
    seen = Observation(replace(TARGET, recovery=recovery), (closed(-9),), forgotten={FailureClass.INFRASTRUCTURE: 1})
    assert isinstance(at(200.0, seen), Start)
    assert isinstance(at(200.0, replace(seen, forgotten={FailureClass.INFRASTRUCTURE: 2})), Fail)


class TestBudgetsOfAChangedJob:
    """26 preemptions, of which the ledger keeps 20; then the job is changed."""

    recovery = RecoverySpec(max_preemptions=4)
    old = tuple(replace(closed(42), number=number, digest="old") for number in range(7, 27))
    target = replace(TARGET, recovery=recovery, digest="new")

    def look(self, *attempts: Attempt, **more) -> Observation:
        return Observation(self.target, (*self.old, *attempts), **more)

    def preempted(self, number: int, digest: str = "new") -> Attempt:
        return replace(closed(42), number=number, digest=digest)

    def test_start_at_zero(self):
        seen = self.look(forgotten={FailureClass.PLANNED: 6})
        decision = at(200.0, seen)
        assert decision == Start(27, 2)
        started = build_status(seen, decision, None, plan=None, generation=2, now=200.0)
        assert started.budgets.preemptions == 0

    @pytest.mark.parametrize("spent", range(1, 6))
    def test_are_spent_by_the_attempts_after_the_change_alone(self, spent: int):
        seen = self.look(*(self.preempted(27 + number) for number in range(spent)))
        assert (
            build_status(seen, at(999.0, seen), None, plan=None, generation=2, now=999.0).budgets.preemptions == spent
        )
        assert isinstance(at(999.0, seen), Start if spent <= 4 else Fail)

    def test_start_at_zero_also_when_it_is_changed_back(self):
        back = replace(self.target, digest="old")
        seen = replace(self.look(self.preempted(27), self.preempted(28, "old")), target=back)
        assert build_status(seen, at(999.0, seen), None, plan=None, generation=3, now=999.0).budgets.preemptions == 1
        assert isinstance(at(999.0, seen), Start)


@pytest.mark.parametrize(
    ("had", "wanted", "message"),
    [(2, 1, "one host is asked for instead of 2"), (1, 2, "2 hosts are asked for instead of 1")],
)
def test_a_resize_is_told_in_good_grammar(had: int, wanted: int, message: str) -> None:
    attempt = replace(RUNNING, hosts=had, wanted_hosts=had)
    target = replace(TWO.target, hosts=wanted, host_counts=(1, 2))
    decision = at(10.0, replace(TWO, attempts=(attempt,), target=target))
    assert isinstance(decision, Terminate)
    assert decision.cause is not None
    assert decision.cause.message == message


class TestTextThatPodsOfTheirOwnTokenize:
    failure = Verdict(FailureClass.DATA, ExitCode.BAD_DATA, "a.txt is broken", reason="DataPreparationFailed")

    def test_is_waited_for_before_the_first_attempt(self):
        assert at(0.0, between(preparation=Preparation("d"))) == Prepare()

    def test_lets_training_begin_when_its_beginning_is_there(self):
        assert at(0.0, between(preparation=Preparation("d", ready=True))) == Start(1, 2)

    def test_that_is_whole_is_not_waited_for_by_a_later_attempt(self):
        whole = Preparation("d", ready=True, whole=True)
        assert at(100.0, between(closed(-9), preparation=whole)) == Start(2, 2)

    def test_fails_the_job_where_it_cannot_be_tokenized(self):
        decision = at(0.0, between(preparation=Preparation("d", failure=self.failure)))
        assert isinstance(decision, Fail)
        assert decision.verdict == self.failure

    def test_fails_the_job_also_when_training_could_begin(self):
        broken = Preparation("d", ready=True, failure=self.failure)
        assert isinstance(at(100.0, between(closed(-9), preparation=broken)), Fail)

    def test_does_not_keep_a_job_from_being_suspended(self):
        seen = between(preparation=Preparation("d", failure=self.failure), stop_requests=1)
        assert at(0.0, seen) == Suspend()

    @pytest.mark.parametrize(
        ("phase", "decision"), [(Phase.WAITING_FOR_DATA, Terminate(failure)), (Phase.TRAINING, QUIET)]
    )
    def test_that_cannot_be_tokenized_ends_an_attempt_that_waits_for_it(self, phase, decision):
        progress = TRAINING.model_copy(update={"phase": phase})
        broken = Preparation("d", ready=True, failure=self.failure)
        assert at(1.0, replace(TWO, progress=progress, preparation=broken)) == decision

    def test_is_waited_for_while_the_job_keeps_its_time_to_live(self):
        seen = between(preparation=Preparation("d", failure=self.failure))
        assert isinstance(at(1e9, replace(seen, target=replace(TARGET, ttl=1.0))), Fail)
