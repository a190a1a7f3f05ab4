"""Checkpoints of a run that had other bits are not gone on from, and the refusal says what to set."""

import pytest
from lateen_trainer.errors import UserError
from lateen_trainer.train import check_origin

WHAT = "a checkpoint of step 40 (gs://runs/nano/step-00000040) that was trained"
ORIGIN = {"data": "b2", "seed": 0, "batch": 64, "lanes": 16}


@pytest.mark.parametrize(
    ("name", "before", "remedy"),
    [
        ("lanes", 64, "with spec.trainer.lanes 64, and now it is 16: expected .*Set spec.trainer.lanes to 64, or name"),
        ("seed", 7, "with spec.trainer.seed 7, and now it is 0: expected .*Set spec.trainer.seed to 7, or name"),
        ("batch", 8, "spec.trainer.trainBatchSize 8, .*Set spec.trainer.trainBatchSize to 8, or name"),
        ("data", "a1", "training data of digest 'a1', and now it is 'b2': expected .*Put it back, or name"),
    ],
)
def test_another_origin_is_refused(name: str, before: str | int, remedy: str):
    with pytest.raises(UserError, match=remedy) as refused:
        check_origin(WHAT, {**ORIGIN, name: before}, ORIGIN)
    assert str(refused.value).startswith(f"spec.checkpoint.path has {WHAT} with ")


def test_the_same_origin_and_one_that_says_less_are_taken():
    check_origin(WHAT, ORIGIN, ORIGIN)
    check_origin(WHAT, {}, ORIGIN)
