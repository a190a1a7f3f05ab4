"""Lanes: the fixed pieces of a batch by which elastic mode gives equal bits on any number of hosts.

A lane is one microbatch of one fixed shape. Gradients of lanes are added in one binary tree, so there are a power of
two of them, and so is the number of devices along the data axis. Each device has at least two: XLA unrolls a loop
with a single trip and fuses it differently.

The number of lanes follows from the job alone, never from the machine or from the hosts that it happens to have.
"""

from collections.abc import Callable

from lateen_api.errors import JobError
from lateen_api.spec import TrainerSpec

TRIPS = 2
"""Fewest lanes of a device."""


def choose_lanes(trainer: TrainerSpec, most_data: int, fits: Callable[[int], bool], *, wished: int = 1) -> int:
    """The number of lanes: those of the spec, or as few as serve all devices, or as the batch can be cut into.

    Args:
        trainer: batch size and, perhaps, lanes and perDeviceParallelism.
        most_data: greatest size of the data axis that the job may get; a power of two.
        fits: says of a number of sequences whether a device may work on them at once.
        wished: at least so many, if the batch can be cut so.

    Raises:
        JobError: the batch cannot be cut as the spec says.
    """
    batch = trainer.train_batch_size
    if trainer.lanes is not None:
        return _check_lanes(trainer, trainer.lanes)
    if trainer.per_device_parallelism > 0:
        return _check_lanes(trainer, batch // trainer.per_device_parallelism)
    most = batch & -batch  # the greatest power of two that divides it
    lanes = min(most, TRIPS * most_data)
    while lanes < most and (lanes < wished or not fits(batch // lanes)):
        lanes *= 2
    return lanes


def serves(lanes: int, data: int) -> bool:
    """Can so many lanes be shared out among the devices of the data axis? A single lane is for a single device,
    which nothing else has to agree with."""
    return is_power_of_two(data) and (lanes >= TRIPS * data or lanes == data == 1)


def check_devices(trainer: TrainerSpec, lanes: int, data: int) -> None:
    """Raises JobError unless the lanes can be shared out among a power of two of devices."""
    if serves(lanes, data):
        return
    least, batch = TRIPS * data, trainer.train_batch_size
    few = f"less than two for each of {data} devices of the data axis: expected at least {least}."
    fast = "spec.trainer.reproducibility: fast"
    if trainer.lanes is not None:
        raise JobError("spec.trainer.lanes", f"{lanes} is {few} Use {least} lanes, fewer hosts, or {fast}.")
    if trainer.per_device_parallelism > 0:
        raise JobError(
            "spec.trainer.perDeviceParallelism",
            f"{trainer.per_device_parallelism} makes {lanes} lanes of the batch of {batch}, which is {few} "
            f"Use {max(1, batch // least)}, fewer hosts, or {fast}.",
        )
    if batch % least:
        raise JobError(
            "spec.trainer.trainBatchSize",
            f"{batch} cannot be cut into lanes for {data} device{'s' * (data > 1)}: expected a multiple of {least}. "
            f"Use {_near(batch, least)}, or {fast}.",
        )
    raise JobError(
        "spec.trainer.lanes",
        f"missing: {lanes} are planned, as many as the hosts of spec.compute need, which is {few} "
        f"Add {least}, or let spec.compute allow so many hosts.",
    )


def _check_lanes(trainer: TrainerSpec, lanes: int) -> int:
    batch, microbatch = trainer.train_batch_size, trainer.per_device_parallelism
    where = "spec.trainer.lanes" if trainer.lanes is not None else "spec.trainer.perDeviceParallelism"
    value = (
        f"{lanes}" if trainer.lanes is not None else f"{microbatch} makes {lanes} lanes of the batch of {batch}, which"
    )
    if not is_power_of_two(lanes):
        below = 1 << (max(1, lanes).bit_length() - 1)
        raise JobError(
            where,
            f"{value} is not a power of two: expected one. "
            f"Use {below} or {2 * below} lanes, or spec.trainer.reproducibility: fast.",
        )
    if batch % lanes:
        raise JobError(
            where,
            f"{value} does not divide spec.trainer.trainBatchSize, {batch}. Use a batch of {_near(batch, lanes)}.",
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
