"""Batches that are left out, and which batch a step gets then."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from lateen_trainer.data.skips import Skips

WHY = "the loss of the step is nan"


def leaving_out(batches: Iterable[int]) -> Skips:
    return Skips(dict.fromkeys(batches, WHY))


def test_without_skips_step_s_trains_on_batch_s():
    assert [Skips().batch_of(step) for step in range(4)] == [0, 1, 2, 3]


def test_a_skipped_batch_is_left_out_and_the_later_ones_move_up():
    assert [leaving_out([2]).batch_of(step) for step in range(4)] == [0, 1, 3, 4]


def test_the_batch_after_a_skipped_one_can_be_skipped_too():
    once = Skips().with_step(2, WHY)
    twice = once.with_step(2, "it is inf")
    assert twice.reasons == {2: WHY, 3: "it is inf"}
    assert twice.batch_of(2) == 4


def test_what_lies_ahead_of_a_step_is_not_part_of_its_past():
    skips = leaving_out([2, 5, 6])
    assert [skips.before(step).batches for step in range(7)] == [(), (), (), (2,), (2,), (2, 5, 6), (2, 5, 6)]


@given(st.sets(st.integers(0, 200)), st.integers(1, 300))
def test_steps_run_through_all_other_batches_in_order(skipped, steps):
    skips = leaving_out(skipped)
    expected = [batch for batch in range(steps + len(skipped) + 1) if batch not in skipped][:steps]
    assert [skips.batch_of(step) for step in range(steps)] == expected


@given(st.sets(st.integers(0, 100)), st.integers(0, 100))
def test_what_was_trained_before_a_skip_is_what_it_was(skipped, step):
    before, after = leaving_out(skipped), leaving_out(skipped).with_step(step, WHY)
    assert [before.batch_of(s) for s in range(step)] == [after.batch_of(s) for s in range(step)]
    assert after.batch_of(step) != before.batch_of(step)


@given(st.sets(st.integers(0, 100)), st.integers(0, 100))
def test_what_a_step_was_trained_on_is_known_from_its_past_alone(skipped, step):
    skips = leaving_out(skipped)
    past = skips.before(step)
    assert [past.batch_of(s) for s in range(step)] == [skips.batch_of(s) for s in range(step)]
