"""What may happen to the operator while something happens to a job."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from e2e_cluster.harness.fixtures import Start
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.proxy import Proxy

_REFUSALS = (403, 409, 429, 500)
_MOST_WRITES = 4
"""A fault makes the operator write some more than this."""

_WRITES_WITHIN_SECONDS = 10.0
_MOST_SECONDS_AWAY = 12.0


@dataclass
class Operator:
    """The operator behind its proxy, whichever process that is at the moment."""

    start: Start
    proxy: Proxy
    namespace: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        self.process: OperatorProcess = self.start(self.namespace, *self.options)

    def start_again(self) -> None:
        self.process.close()
        self.process = self.start(self.namespace, *self.options)


Strike = Callable[[], None]
OperatorFault = Callable[[Operator, Strike, random.Random], str]
"""Lets the fault happen, with trouble for the operator; returns what trouble exactly."""


def _killed_at_a_write(operator: Operator, strike: Strike, dice: random.Random) -> str:
    number = dice.randint(1, _MOST_WRITES)
    process = operator.process.process
    operator.proxy.at_write(number, process.kill)
    strike()
    deadline = time.monotonic() + _WRITES_WITHIN_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    operator.proxy.disarm()
    was_killed = process.poll() is not None
    operator.start_again()
    return f"operator killed {f'at write {number}' if was_killed else 'between writes'}"


def _ended(operator: Operator, strike: Strike, dice: random.Random) -> str:
    operator.process.end()
    strike()
    seconds = dice.uniform(0, _MOST_SECONDS_AWAY)
    time.sleep(seconds)
    operator.start_again()
    return f"operator ended for {seconds:.1f} s"


def _refused(operator: Operator, strike: Strike, dice: random.Random) -> str:
    writes, status = dice.randint(1, _MOST_WRITES), dice.choice(_REFUSALS)
    operator.proxy.refuse(writes, status)
    strike()
    return f"the next {writes} writes refused with {status}"


def _cut_off(operator: Operator, strike: Strike, dice: random.Random) -> str:
    operator.proxy.go_away()
    strike()
    seconds = dice.uniform(1, _MOST_SECONDS_AWAY)
    time.sleep(seconds)
    operator.proxy.come_back()
    return f"API server away for {seconds:.1f} s"


def _watches_expire(operator: Operator, strike: Strike, dice: random.Random) -> str:
    operator.proxy.expire_watches(strike)
    return "watches expired"


OPERATOR_FAULTS: tuple[OperatorFault, ...] = (_killed_at_a_write, _ended, _refused, _cut_off, _watches_expire)
SEES = frozenset({_refused})
"""During these the operator sees what happens to the job."""
