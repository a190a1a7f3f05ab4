"""Lanes of elastic mode."""

import pytest
from lateen_api.errors import JobError
from lateen_api.plan.lanes import check_devices, choose_lanes, serves
from lateen_api.spec import TrainerSpec


def up_to(sequences: int):
    return lambda microbatch: microbatch <= sequences


def trainer(batch: int, **fields) -> TrainerSpec:
    return TrainerSpec(train_batch_size=batch, reproducibility="elastic", **fields)


def test_every_device_gets_two_lanes_at_least():
    assert choose_lanes(trainer(512), 8, up_to(1000)) == 16


def test_lanes_are_made_smaller_until_a_device_can_work_on_one():
    assert choose_lanes(trainer(512), 8, up_to(4)) == 128


def test_lanes_cannot_be_smaller_than_the_batch_divides():
    assert choose_lanes(trainer(48), 2, up_to(1)) == 16


def test_given_microbatch_says_how_many_lanes():
    assert choose_lanes(trainer(512, per_device_parallelism=4), 8, up_to(1)) == 128


def test_given_lanes_are_taken():
    assert choose_lanes(trainer(512, lanes=64), 8, up_to(1)) == 64


def test_batch_is_cut_as_far_as_it_can_be_where_that_is_not_far_enough():
    assert choose_lanes(trainer(36), 8, up_to(1000)) == 4
    assert choose_lanes(trainer(7), 1, up_to(1000)) == 1


def test_more_lanes_than_needed_can_be_wished_for():
    assert choose_lanes(trainer(512), 1, up_to(1000), wished=16) == 16
    assert choose_lanes(trainer(8), 1, up_to(1000), wished=16) == 8


@pytest.mark.parametrize(
    ("lanes", "data", "answer"),
    [(16, 8, True), (8, 8, False), (12, 3, False), (1, 1, True), (2, 1, True), (1, 2, False)],
)
def test_every_device_of_several_has_two_lanes(lanes: int, data: int, answer: bool):
    assert serves(lanes, data) is answer


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            trainer(512, lanes=48),
            "spec.trainer.lanes: 48 is not a power of two: expected one. Use 32 or 64 lanes, or "
            "spec.trainer.reproducibility: fast.",
        ),
        (
            trainer(500, lanes=64),
            "spec.trainer.lanes: 64 does not divide spec.trainer.trainBatchSize, 500. Use a batch of 448 or 512.",
        ),
        (
            trainer(512, lanes=64, per_device_parallelism=4),
            "spec.trainer.lanes: 64 lanes of the batch of 512 have 8 sequences each, but "
            "spec.trainer.perDeviceParallelism is 4. Remove one of the two.",
        ),
        (
            trainer(36, per_device_parallelism=3),
            "spec.trainer.perDeviceParallelism: 3 makes 12 lanes of the batch of 36, which is not a power of two: "
            "expected one. Use 8 or 16 lanes, or spec.trainer.reproducibility: fast.",
        ),
    ],
)
def test_lanes_that_cannot_be(spec: TrainerSpec, message: str):
    with pytest.raises(JobError) as caught:
        choose_lanes(spec, 8, up_to(1000))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "lanes", "message"),
    [
        (
            trainer(512, lanes=8),
            8,
            "spec.trainer.lanes: 8 is less than two for each of 8 devices of the data axis: expected at least 16. "
            "Use 16 lanes, fewer hosts, or spec.trainer.reproducibility: fast.",
        ),
        (
            trainer(64, per_device_parallelism=8),
            8,
            "spec.trainer.perDeviceParallelism: 8 makes 8 lanes of the batch of 64, which is less than two for each of "
            "8 devices of the data axis: expected at least 16. Use 4, fewer hosts, or spec.trainer.reproducibility: "
            "fast.",
        ),
        (
            trainer(36),
            4,
            "spec.trainer.trainBatchSize: 36 cannot be cut into lanes for 8 devices: expected a multiple of 16. "
            "Use 32 or 48, or spec.trainer.reproducibility: fast.",
        ),
        (
            trainer(512),
            8,
            "spec.trainer.lanes: missing: 8 are planned, as many as the hosts of spec.compute need, which is less than "
            "two for each of 8 devices of the data axis: expected at least 16. Add 16, or let spec.compute allow so "
            "many hosts.",
        ),
    ],
)
def test_lanes_that_do_not_suffice_for_eight_devices(spec: TrainerSpec, lanes: int, message: str):
    with pytest.raises(JobError) as caught:
        check_devices(spec, lanes, 8)
    assert str(caught.value) == message
