"""On which call all loops stop."""

import threading

from lateen_trainer.processes.preemption_sync import PreemptionSync


def test_nothing_stops_without_a_request():
    agreement = PreemptionSync()
    assert [agreement.should_stop() for _ in range(3)] == [False, False, False]
    assert not agreement.requested


def test_freeze_tells_how_often_the_loop_has_asked():
    agreement = PreemptionSync()
    agreement.should_stop()
    agreement.should_stop()
    assert agreement.freeze() == 2
    assert agreement.requested


def test_the_loop_stops_at_the_agreed_call_and_after_it():
    agreement = PreemptionSync()
    agreement.should_stop()
    agreement.freeze()
    agreement.decide(4)
    assert [agreement.should_stop() for _ in range(4)] == [False, False, True, True]


def test_a_frozen_loop_waits_for_the_decision():
    agreement = PreemptionSync()
    agreement.freeze()
    answers = []
    loop = threading.Thread(target=lambda: answers.append(agreement.should_stop()))
    loop.start()
    loop.join(0.2)
    assert loop.is_alive() and answers == []
    agreement.decide(1)
    loop.join(5)
    assert answers == [True]
