"""Lanes: the fixed pieces of a batch by which elastic mode gives equal bits on any number of hosts.

A lane is one microbatch of one fixed shape. Gradients of lanes are added in one binary tree, so there are a power of
two of them, and so is the number of devices along the data axis. Each device has at least two: XLA unrolls a loop
with a single trip and fuses it differently.
"""

from collections.abc import Callable

from lateen_api.errors import JobError
from lateen_api.spec import TrainerSpec

TRIPS = 2
"""Fewest lanes of a device."""


def choose_lanes(trainer: TrainerSpec, most_data: int, fits: Callable[[int], bool]) -> int:
    """The number of lanes.

    Args:
        trainer: batch size and, perhaps, lanes and perDeviceParallelism.
        most_data: greatest size of the data axis that the job may get; a power of two.
        fits: says of a number of sequences whether a device may work on them at once.

    Raises:
        JobError: the batch cannot be cut so.
    """
    batch, least = trainer.train_batch_size, TRIPS * most_data
    if trainer.lanes is not None:
        return _check_lanes(trainer, trainer.lanes, least)
    if batch % least:
        raise JobError(
            "spec.trainer.trainBatchSize",
            f"{batch} cannot be cut into lanes for {most_data} devices: expected a multiple of {least}. "
            f"Use {_near(batch, least)}.",
        )
    if trainer.per_device_parallelism > 0:
        return _check_lanes(trainer, batch // trainer.per_device_parallelism, least)
    lanes = least
    while not fits(batch // lanes) and batch % (2 * lanes) == 0:
        lanes *= 2
    return lanes


def _check_lanes(trainer: TrainerSpec, lanes: int, least: int) -> int:
    batch, microbatch = trainer.train_batch_size, trainer.per_device_parallelism
    where = "spec.trainer.lanes" if trainer.lanes is not None else "spec.trainer.perDeviceParallelism"
    value = (
        f"{lanes}" if trainer.lanes is not None else f"{microbatch} makes {lanes} lanes of the batch of {batch}, which"
    )
    if not is_power_of_two(lanes):
        below = 1 << (lanes.bit_length() - 1)
        raise JobError(where, f"{value} is not a power of two: expected one. Use {below} or {2 * below} lanes.")
    if batch % lanes:
        raise JobError(
            where,
            f"{value} does not divide spec.trainer.trainBatchSize, {batch}. Use a batch of {_near(batch, lanes)}.",
        )
    if lanes < least:
        raise JobError(
            where,
            f"{value} is less than two for each of {least // TRIPS} devices of the data axis: "
            f"expected at least {least}. Use {least} lanes, or fewer hosts.",
        )
    if microbatch > 0 and microbatch * lanes != batch:
        raise JobError(
            where,
            f"{lanes} lanes of the batch of {batch} have {batch // lanes} sequences each, but "
            f"spec.trainer.perDeviceParallelism is {microbatch}. Remove one of the two.",
        )
    return lanes


def is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _near(number: int, unit: int) -> str:
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"
