"""Which checkpoints stay, and when one is due."""

from lateen_api.spec.checkpoint import KeepRule
from lateen_trainer.checkpoint.retention import SavePolicy, which_to_delete


def test_without_rules_only_the_newest_stays():
    assert which_to_delete([10, 30, 20], []) == [10, 20]


def test_nothing_to_delete_in_an_empty_folder():
    assert which_to_delete([], []) == []


def test_multiples_stay():
    assert which_to_delete([500, 1000, 1500, 2000, 2100], [KeepRule(every=1000)]) == [500, 1500]


def test_a_rule_ends_at_its_last_step():
    rules = [KeepRule(every=100, until=200), KeepRule(every=1000)]
    assert which_to_delete([100, 200, 300, 1000, 1100], rules) == [300]


def test_newest_stays_whatever_the_rules_say():
    assert which_to_delete([1000, 1001], [KeepRule(every=1000)]) == []


def test_due_when_the_interval_is_over():
    policy = SavePolicy(900.0, last_save=100.0)
    assert [policy.due(5, now) for now in (100.0, 999.9, 1000.0)] == [False, False, True]


def test_interval_begins_anew_with_each_save():
    assert not SavePolicy(900.0, last_save=100.0).saved(1000.0).due(6, 1000.5)


def test_due_at_steps_that_a_rule_keeps():
    policy = SavePolicy(900.0, (KeepRule(every=10, until=20),))
    assert [step for step in range(41) if policy.due(step, 1.0)] == [10, 20]
