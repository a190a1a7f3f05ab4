"""Faults, one after another, on jobs that train one after another; after each job, whether all is as it must be.

Everything that is left to chance comes from one seed: the order of the faults, whom they hit and when. Each strikes an
attempt that trains, so that each ends exactly one attempt or none, and the ledger can be held against the list of them.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from e2e_cluster.chaos.faults import FAULTS, NEEDS_PEER, Fault, Hit, Scene
from e2e_cluster.chaos.operator_faults import OPERATOR_FAULTS, SEES, Operator, OperatorFault
from e2e_cluster.chaos.pod_history import PodHistory
from e2e_cluster.chaos.trainers import trainers_of
from e2e_cluster.harness.api import Api
from e2e_cluster.training import Training
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES, PODS

STEPS = 1000
LAST_FAULT_BEFORE = 0.75
"""Part of the steps after which a job is left alone."""

_Any = TypeVar("_Any")


@dataclass(frozen=True)
class Happened:
    """A fault that struck."""

    fault: Fault
    name: str
    hit: Hit | None
    seen: bool
    """The operator could see it happen."""

    @property
    def may_come_late(self) -> bool:
        """The job may have completed before the operator did as it was asked."""
        return self.fault.failure_class == "Requested"


@dataclass
class Campaign:
    """Up to `faults` faults.

    Args:
        operator: at work.
        api: calls the API server past the operator's proxy.
        start_job: applies a job by its name.
        reference: losses of an undisturbed job.
        seed: of everything that is left to chance.
        only: this fault again and again, with nothing happening to the operator; None: all faults.
    """

    operator: Operator
    api: Api
    start_job: Callable[[str], Training]
    reference: dict[int, float]
    seed: int
    only: str | None = None
    log: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._faults = _deck([self.only] if self.only else list(FAULTS), self._dice)
        self._operator_faults = _deck(list(OPERATOR_FAULTS), self._dice)
        self._pods = PodHistory(self.api, self.operator.namespace)
        self._began = time.monotonic()

    def run(self, faults: int) -> None:
        """Raises AssertionError where something is not as it must be."""
        number = 0
        while self.struck.total() < faults:
            number += 1
            self._one_job(f"chaos-{number}", faults)

    def note(self, line: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.1f} s {line}")
        print(self.log[-1], flush=True)

    def _one_job(self, name: str, faults: int) -> None:
        scene = Scene(self.start_job(name), self.api, self._dice)
        happened: list[Happened] = []
        while self.struck.total() < faults:
            attempts = 1 + sum(one.fault.failure_class is not None for one in happened)
            if self._trains(scene.training, attempts) > STEPS * LAST_FAULT_BEFORE:
                break
            happened.append(self._strike(scene, attempts))
        scene.training.finish(seconds=240)
        self.note(f"{name} is complete")
        self._check(scene.training, happened)
        self._check_nothing_is_left(scene.training)

    def _strike(self, scene: Scene, attempt: int) -> Happened:
        name = next(self._faults)
        while name in NEEDS_PEER and scene.hosts == 1:
            name = next(self._faults)
        fault, hit = FAULTS[name], None
        makes_trouble: OperatorFault | None = None
        if self.only is None and (name == "nothing" or self._dice.random() < 0.5):
            makes_trouble = next(self._operator_faults)
        time.sleep(self._dice.uniform(0, 1))
        number = self.struck.total() + 1

        def strike() -> None:
            nonlocal hit
            self.note(f"fault {number}: {name}")
            hit = fault.strike(scene)

        if makes_trouble is None:
            strike()
            trouble = "operator undisturbed"
        else:
            trouble = makes_trouble(self.operator, strike, self._dice)
        self.note(f"fault {number}: {name} of {hit}; {trouble}")
        self.struck[name] += 1
        while scene.undone:
            if name == "node killed":
                scene.training.wait_for("the end of the attempt", lambda t: _is_over(t, attempt), seconds=90)
            scene.undone.pop()()
        return Happened(fault, name, hit, seen=makes_trouble is None or makes_trouble in SEES)

    def _trains(self, training: Training, attempt: int) -> int:
        """Waits until this attempt trains. Returns the last step."""

        def is_there(training: Training) -> bool:
            status = training.status
            count, state = status.get("attemptCount", 0), status.get("state")
            assert count <= attempt and state != "Failed", f"attempt {count}, {state} where {attempt} is due"
            return state == "Complete" or (count == attempt and "ended" not in training.ledger[-1])

        training.wait_for(f"attempt {attempt}", is_there, seconds=150)
        steps: list[int] = []

        def grows(training: Training) -> bool:
            steps.append(max(training.losses(), default=0))
            is_over = steps[-1] >= STEPS
            return is_over or (len(steps) > 1 and steps[-1] > steps[-2])

        training.wait_for(f"training of attempt {attempt}", grows, seconds=150)
        return steps[-1]

    def _check(self, training: Training, happened: list[Happened]) -> None:
        status, ledger = training.status, training.ledger
        ended = [one for one in happened if one.fault.failure_class is not None]
        if status["attemptCount"] == len(ended) and ended[-1].may_come_late:
            ended.pop()
        assert status["attemptCount"] == len(ended) + 1, f"{len(ended)} faults that end attempts: {_short(ledger)}"
        # The ledger keeps the newest attempts; of older ones the budgets tell.
        for entry, one in zip(reversed(ledger[:-1]), reversed(ended), strict=False):
            self._check_entry(training, entry, one)
        assert ledger[-1]["reason"] == "Done", _short(ledger)
        causes = Counter(one.fault.failure_class for one in ended)
        budgets = {name: count for name, count in status.get("budgets", {}).items() if count}
        wanted = {"preemptions": causes["Planned"], "infrastructureFailures": causes["Infrastructure"]}
        assert budgets == {name: count for name, count in wanted.items() if count}
        assert training.losses() == self.reference, "the losses differ from those of an undisturbed run"

    def _check_entry(self, training: Training, entry: dict[str, Any], one: Happened) -> None:
        fault, attempt = one.fault, f"{training.name}-a{entry['number']}"
        evidence = f"{one.name}, hit {one.hit}\n{entry}\n{self._pods.of(attempt)}"
        reasons = fault.reasons if one.seen else fault.reasons | fault.unseen
        assert (entry["failureClass"], entry["reason"] in reasons) == (fault.failure_class, True), evidence
        if one.hit is None:
            return
        assert entry.get("node") in (None, one.hit.node), evidence
        process = re.match(r"process (\d+) ", entry.get("message", ""))
        assert process is None or int(process[1]) == one.hit.process, evidence

    def _check_nothing_is_left(self, training: Training) -> None:
        label = {"labelSelector": f"lateen.dev/job={training.name}"}
        last = f"{training.name}-a{training.ledger[-1]['number']}"

        def names(*kinds: Any) -> list[str]:
            found = [one for kind in kinds for one in self.api.list(kind, training.namespace, **label)]
            return sorted(one["metadata"]["name"] for one in found)

        pods = self.api.list(PODS, training.namespace, **label)
        _within(20, lambda: names(JOB_SETS, CONFIG_MAPS), [last, last])
        _within(20, lambda: [name for name in names(PODS) if not name.startswith(f"{last}-")], [])
        _within(20, lambda: [pid for pod in pods for pid in trainers_of(pod["metadata"]["uid"])], [])
        self.api.delete(JOBS, training.namespace, training.name)
        _within(60, lambda: names(JOB_SETS, CONFIG_MAPS, NETWORK_POLICIES, PODS), [])


def _within(seconds: float, found: Callable[[], list[Any]], wanted: list[Any]) -> None:
    deadline = time.monotonic() + seconds
    while (last := found()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    assert last == wanted, f"found {last} instead of {wanted} after {seconds} s"


def _is_over(training: Training, attempt: int) -> bool:
    """Has this attempt ended?"""
    return any(entry["number"] >= attempt and "ended" in entry for entry in training.ledger)


def _deck(cards: list[_Any], dice: random.Random) -> Iterator[_Any]:
    """All of them in an order of chance, then again in another, for ever."""
    while True:
        dice.shuffle(cards)
        yield from cards


def _short(ledger: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['number']}: {entry.get('failureClass')} {entry.get('reason')}" for entry in ledger]
