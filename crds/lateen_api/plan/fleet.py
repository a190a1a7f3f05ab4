"""`spec.compute` → the machines that a job may run on, before batch and model come into it."""

from dataclasses import dataclass

from lateen_api.accelerators import Accelerator, Slice, advice_on_name, find_accelerator
from lateen_api.errors import JobError, raise_all
from lateen_api.quantities import parse_quantity
from lateen_api.spec import ComputeSpec
from lateen_api.wording import listing, show

DEFAULT_CORES = 2
"""Cores of a CPU host about which nothing is known."""

_OWNERS = {
    "topology": ("tpu",),
    "chips_per_host": ("tpu",),
    "slices": ("tpu",),
    "min_slices": ("tpu",),
    "max_slices": ("tpu",),
    "min_hosts": ("cpu", "gpu"),
    "max_hosts": ("cpu", "gpu"),
    "gpus_per_host": ("gpu",),
    "devices_per_host": ("cpu",),
}
"""Fields that mean something for some kinds of machine only."""

_KIND_NAMES = {"cpu": "CPUs", "gpu": "GPUs", "tpu": "TPUs"}


@dataclass(frozen=True)
class Fleet:
    """The machines that a job may run on."""

    accelerator: Accelerator
    hosts: int
    """Hosts that are planned with."""

    fewest: int
    """Fewest hosts that the job goes on with."""

    most: int
    """Most hosts that it grows to."""

    hosts_per_slice: int
    """Hosts come and go in units of this many; 1 but for TPUs."""

    devices_per_host: int | None
    """None: a CPU host, whose devices are chosen to suit the batch."""

    cores: int
    """Cores of a CPU host as it is: most devices that are chosen for it."""

    cores_asked_for: int
    """Cores of a CPU host as the job has it, whatever the machine."""

    host_memory: int | None
    """Bytes that a pod asks for; None: it does not say."""

    def counts(self) -> range:
        """All numbers of hosts that the job may have, as far as its machines go."""
        return range(self.fewest, self.most + 1, self.hosts_per_slice)

    def device_memory(self, devices_per_host: int) -> int | None:
        """Bytes of one device; None: not known."""
        if self.accelerator.kind != "cpu":
            return self.accelerator.device_memory
        return self.host_memory // devices_per_host if self.host_memory else None


def read_fleet(compute: ComputeSpec, *, hosts: int | None, cores: int | None) -> Fleet:
    """The machines of a spec.

    Args:
        compute: the spec.
        hosts: hosts to plan with instead of the spec's; None: those of the spec.
        cores: cores of a CPU host; None: as the pod asks for, or 2.

    Raises:
        JobError: there are no such machines.
    """
    accelerator = find_accelerator(compute.accelerator)
    if accelerator is None:
        raise JobError(
            "spec.compute.accelerator",
            f"{show(compute.accelerator)} is not known. {advice_on_name(compute.accelerator)}",
        )
    errors = _foreign_fields(compute, accelerator)
    unit, devices_per_host = 1, compute.devices_per_host
    try:
        if accelerator.kind == "tpu":
            tpu_slice = _tpu_slice(compute, accelerator)
            unit, devices_per_host = tpu_slice.hosts, tpu_slice.chips_per_host * accelerator.devices_per_chip
        elif accelerator.kind == "gpu":
            devices_per_host = _gpus(compute, accelerator)
    except JobError as error:
        errors.append(error)
    wanted, fewest, most, range_errors = _host_range(compute, accelerator, unit)
    raise_all([*errors, *range_errors])
    cores_asked_for = max(1, int(parse_quantity(compute.cpu))) if compute.cpu else DEFAULT_CORES
    return Fleet(
        accelerator=accelerator,
        hosts=_whole_slices(hosts, unit) if hosts is not None else wanted * unit,
        fewest=fewest * unit,
        most=most * unit,
        hosts_per_slice=unit,
        devices_per_host=devices_per_host,
        cores=cores or cores_asked_for,
        cores_asked_for=cores_asked_for,
        host_memory=int(parse_quantity(compute.memory)) if compute.memory else None,
    )


def _foreign_fields(compute: ComputeSpec, accelerator: Accelerator) -> list[JobError]:
    """Fields that are set although they belong to another kind of machine."""
    errors = []
    for name, owners in _OWNERS.items():
        field, value = ComputeSpec.model_fields[name], getattr(compute, name)
        if accelerator.kind not in owners and value != field.default:
            kinds = listing([_KIND_NAMES[kind] for kind in owners], "and")
            errors.append(
                JobError(
                    f"spec.compute.{field.alias}",
                    f"{show(value)} is set, but the field is for {kinds} and spec.compute.accelerator is "
                    f"{accelerator.name}. Remove it.",
                )
            )
    return errors


def _tpu_slice(compute: ComputeSpec, accelerator: Accelerator) -> Slice:
    where = "spec.compute.topology"
    if compute.topology is None:
        examples = listing(list(accelerator.slices or {})[:4])
        raise JobError(
            where,
            f"missing: {accelerator.name} needs the chips of a slice, such as {examples}. Add it.",
        )
    slices = accelerator.slices_of(compute.topology)
    if not slices:
        near = listing(accelerator.topologies_near(compute.topology))
        raise JobError(where, f"{show(compute.topology)} is no topology of {accelerator.name}. Near ones are {near}.")
    fitting = [one for one in slices if compute.chips_per_host in (None, one.chips_per_host)]
    if len(fitting) == 1:
        return fitting[0]
    choices = listing([f"{one.chips_per_host} ({one.hosts} host{'s' * (one.hosts > 1)})" for one in slices])
    if fitting:
        raise JobError(
            "spec.compute.chipsPerHost",
            f"missing: {accelerator.name} has hosts of different size for the topology {compute.topology}. "
            f"Add {choices}.",
        )
    raise JobError(
        "spec.compute.chipsPerHost",
        f"{compute.chips_per_host} is not what {accelerator.name} hosts have for the topology {compute.topology}: "
        f"expected {choices}.",
    )


def _gpus(compute: ComputeSpec, accelerator: Accelerator) -> int:
    possible = accelerator.gpus_per_host
    if compute.gpus_per_host is None:
        return possible[-1]
    if compute.gpus_per_host not in possible:
        raise JobError(
            "spec.compute.gpusPerHost",
            f"{compute.gpus_per_host} is not what hosts with {accelerator.name} have: expected {listing(possible)}.",
        )
    return compute.gpus_per_host


def _host_range(compute: ComputeSpec, accelerator: Accelerator, unit: int) -> tuple[int, int, int, list[JobError]]:
    """(wanted, fewest, most) in slices for TPUs, in hosts otherwise."""
    if accelerator.kind == "tpu":
        noun, wanted, low, high = "Slices", compute.slices, compute.min_slices, compute.max_slices
    else:
        noun, wanted, low, high = "Hosts", compute.hosts, compute.min_hosts, compute.max_hosts
    errors = []
    if accelerator.kind == "tpu" and compute.hosts not in (1, wanted * unit):
        errors.append(
            JobError(
                "spec.compute.hosts",
                f"{compute.hosts} contradicts the topology: {wanted} × {compute.topology} has {wanted * unit} hosts. "
                "Remove the field, and set slices.",
            )
        )
    if low is not None and high is not None and low > high:
        errors.append(
            JobError(
                f"spec.compute.min{noun}",
                f"{low} is more than spec.compute.max{noun}, {high}. Swap or correct them.",
            )
        )
    elif low is not None and low > wanted:
        errors.append(
            JobError(
                f"spec.compute.min{noun}",
                f"{low} is more than the {wanted} that the job starts with (spec.compute.{noun.lower()}). "
                f"Use at most {wanted}, or start with more.",
            )
        )
    elif high is not None and high < wanted:
        errors.append(
            JobError(
                f"spec.compute.max{noun}",
                f"{high} is less than the {wanted} that the job starts with (spec.compute.{noun.lower()}). "
                f"Use at least {wanted}, or start with fewer.",
            )
        )
    return wanted, low or wanted, high or wanted, errors


def _whole_slices(hosts: int, unit: int) -> int:
    if hosts < 1 or hosts % unit:
        expected = "at least 1" if unit == 1 else f"whole slices of {unit} hosts. Use {max(1, hosts // unit) * unit}"
        raise JobError("hosts", f"{hosts} is not possible: expected {expected}.")
    return hosts
