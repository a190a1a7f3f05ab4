"""How a job lies on a certain number of hosts: mesh, microbatches, lanes, memory."""

import math
from dataclasses import dataclass
from functools import cached_property

from lateen_api.errors import JobError
from lateen_api.plan.fleet import Fleet
from lateen_api.plan.lanes import check_devices, choose_lanes, is_power_of_two, serves
from lateen_api.plan.memory import MemoryModel
from lateen_api.plan.result import Memory, MeshShape
from lateen_api.plan.transformer import axis_sizes
from lateen_api.plan.units import bytes_, divisors, divisors_near
from lateen_api.precision import Precision
from lateen_api.spec import JobSpec
from lateen_api.wording import listing

CPU_TOKENS_PER_MICROBATCH = 512
"""Tokens that a CPU device works on at once: more fall out of its caches, fewer waste time between products."""

CPU_LANES = 16
"""Lanes that a job on CPUs gets if its batch can be cut so: it can then go on with up to eight devices although it
did not say so at its beginning. On accelerators microbatches should be as large as they can, and lanes are as many as
the job's range of hosts needs."""

COMFORTABLE_MEMORY = 0.8
"""Part of a device's memory up to which the microbatch is made larger when the plan may choose."""


TOO_MUCH_MEMORY = 1.2
"""Estimate, in parts of a device's memory, from which a job is refused. Up to it the estimate may be wrong."""


@dataclass(frozen=True)
class Layout:
    """How a job lies on its hosts."""

    hosts: int
    devices_per_host: int
    mesh: MeshShape
    microbatch: int
    accumulation_steps: int
    lanes: int | None
    memory: Memory


@dataclass(frozen=True)
class Planner:
    """What a layout depends on, besides the number of hosts."""

    spec: JobSpec
    fleet: Fleet
    precision: Precision
    vocab_size: int
    """Padded, as parameters have it."""

    def lay_out(self, hosts: int) -> Layout:
        """The layout on so many hosts.

        Raises:
            JobError: devices, batch or memory do not allow it.
        """
        devices_per_host = self._devices_per_host(hosts)
        mesh = self._mesh(hosts * devices_per_host)
        lanes = self.lanes
        if lanes is not None:
            self._check_elastic(mesh, devices_per_host)
            check_devices(self.spec.trainer, lanes, mesh.data)
        memory = self._memory(mesh, devices_per_host)
        batch = self.spec.trainer.train_batch_size
        microbatch = self._microbatch(hosts, mesh, memory) if lanes is None else batch // lanes
        layout = Layout(
            hosts=hosts,
            devices_per_host=devices_per_host,
            mesh=mesh,
            microbatch=microbatch,
            accumulation_steps=batch // (mesh.data * microbatch),
            lanes=lanes,
            memory=memory.estimate(microbatch, lanes),
        )
        self._check_memory(layout, memory)
        return layout

    def host_counts(self) -> list[int]:
        """The numbers of hosts on which the job can run, of those that its spec allows."""
        return [hosts for hosts in self.fleet.counts() if self._works(hosts)]

    @cached_property
    def lanes(self) -> int | None:
        """The lanes of the job, the same on any number of hosts; None: its mode is fast.

        Raises:
            JobError: the batch cannot be cut as the spec says.
        """
        trainer, fleet = self.spec.trainer, self.fleet
        if trainer.reproducibility != "elastic":
            return None
        per_host = fleet.devices_per_host or fleet.cores_asked_for
        fewest, most = (max(1, hosts * per_host // trainer.model_axis_size) for hosts in (fleet.fewest, fleet.most))
        # Where memory is tightest: on the fewest hosts.
        memory = self._memory(MeshShape(data=fewest, model=trainer.model_axis_size), per_host)
        return choose_lanes(
            trainer,
            1 << (most.bit_length() - 1),
            lambda microbatch: self._is_comfortable(microbatch, memory),
            wished=CPU_LANES if fleet.accelerator.kind == "cpu" else 1,
        )

    def cpu_threads(self) -> int | None:
        """Threads of XLA's pool on a CPU host in elastic mode, the same on any number of hosts; None: as XLA chooses.

        XLA's CPU backend divides the inner dimension of some products among its threads, so that their number shows
        in the bits. There is one for each device of the process at least.
        """
        if self.spec.trainer.reproducibility != "elastic" or self.fleet.accelerator.kind != "cpu":
            return None
        return max(self.fleet.cores_asked_for, self.fleet.devices_per_host or 1)

    def _memory(self, mesh: MeshShape, devices_per_host: int) -> MemoryModel:
        return MemoryModel(
            model=self.spec.model,
            vocab_size=self.vocab_size,
            batch_size=self.spec.trainer.train_batch_size,
            precision=self.precision,
            mesh=mesh,
            tensor_axes=tuple(self.spec.trainer.tensor_parallel_axes),
            available=self.fleet.device_memory(devices_per_host),
            optimizer=self.spec.optimizer,
            has_ema=self.spec.trainer.ema is not None,
            lora=self.spec.trainer.lora,
        )

    def _devices_per_host(self, hosts: int) -> int:
        """Of a CPU host: the most that suit the batch, up to its cores."""
        if self.fleet.devices_per_host is not None:
            return self.fleet.devices_per_host
        trainer, lanes = self.spec.trainer, self.lanes
        unit = max(1, trainer.per_device_parallelism)
        most = self.fleet.cores if lanes is None else min(self.fleet.cores, self.fleet.cores_asked_for)
        for devices in range(most, 1, -1):
            data, rest = divmod(hosts * devices, trainer.model_axis_size)
            suits = trainer.train_batch_size % (data * unit) == 0 if lanes is None else serves(lanes, data)
            if suits and not rest:
                return devices
        # Nothing suits: what is wrong is told best with one device a host, or with all if layers are to be split.
        return 1 if trainer.model_axis_size == 1 else most

    def _mesh(self, devices: int) -> MeshShape:
        size = self.spec.trainer.model_axis_size
        if devices % size:
            splits_heads = "heads" in self.spec.trainer.tensor_parallel_axes
            heads = axis_sizes(self.spec.model, self.vocab_size)["heads"]
            possible = math.gcd(devices, heads) if splits_heads else devices
            raise JobError(
                "spec.trainer.modelAxisSize",
                f"{size} does not divide the {devices} device{'s' * (devices > 1)}: expected a divisor. "
                f"Use {listing(divisors_near(possible, size))}, or another number of devices.",
            )
        return MeshShape(data=devices // size, model=size)

    def _microbatch(self, hosts: int, mesh: MeshShape, memory: MemoryModel) -> int:
        trainer, data = self.spec.trainer, mesh.data
        batch, given = trainer.train_batch_size, trainer.per_device_parallelism
        unit = data * max(1, given)
        if batch % data:
            factors = f"the {data} devices of the data axis"
            if given > 1:
                factors += f" × spec.trainer.perDeviceParallelism {given}"
            raise JobError(
                "spec.trainer.trainBatchSize",
                f"{batch} is not divisible by {factors}: expected a multiple of {unit}. "
                f"Use {_near(batch, unit)}{self._other_hosts(hosts)}.",
            )
        mine = batch // data
        if given < 1:
            fitting = [divisor for divisor in divisors(mine) if self._is_comfortable(divisor, memory)]
            return max(fitting, default=1)
        if mine % given:
            raise JobError(
                "spec.trainer.perDeviceParallelism",
                f"{given} does not divide the {mine} sequences that a device has of spec.trainer.trainBatchSize "
                f"{batch}: expected a divisor. Use {listing(divisors_near(mine, given))}, or a batch of "
                f"{_near(batch, unit)}.",
            )
        return given

    def _check_elastic(self, mesh: MeshShape, devices_per_host: int) -> None:
        if not is_power_of_two(mesh.data):
            below = 1 << (mesh.data.bit_length() - 1)
            raise JobError(
                "spec.trainer.reproducibility",
                f"elastic needs a power of two of devices along the data axis, not {mesh.data}. "
                f"Use hosts that make {below} or {2 * below}, or fast.",
            )
        # Two addends have one order. More are added by another library between processes than within one, unless
        # the machine fixes which processes split a layer.
        is_free = self.fleet.accelerator.kind == "cpu" and self.fleet.devices_per_host is None
        if is_free and mesh.model > 2 and devices_per_host % mesh.model:
            raise JobError(
                "spec.trainer.modelAxisSize",
                f"{mesh.model} does not divide the {devices_per_host} device{'s' * (devices_per_host > 1)} of a host: "
                "expected a divisor, since elastic mode keeps a layer that is split in more than two within a host. "
                f"Set spec.compute.devicesPerHost to a multiple of {mesh.model}, or spec.trainer.reproducibility: "
                "fast.",
            )

    def _is_comfortable(self, microbatch: int, memory: MemoryModel) -> bool:
        if self.fleet.accelerator.kind == "cpu":
            return microbatch * self.spec.model.seq_len <= CPU_TOKENS_PER_MICROBATCH
        available = memory.available
        return available is None or memory.estimate(microbatch).total <= COMFORTABLE_MEMORY * available

    def _check_memory(self, layout: Layout, memory: MemoryModel) -> None:
        used = layout.memory
        if used.available is None or used.total <= TOO_MUCH_MEMORY * used.available:
            return
        owner = (
            "spec.compute.memory gives it"
            if self.fleet.accelerator.kind == "cpu"
            else f"{self.fleet.accelerator.name} has"
        )
        numbers = (
            f"would need {bytes_(used.total)} of memory a device (parameters {bytes_(used.parameters)}, optimizer "
            f"{bytes_(used.optimizer)}, gradients {bytes_(used.gradients)}, activations {bytes_(used.activations)}), "
            f"but {owner} {bytes_(used.available)}"
        )
        smaller = [n for n in divisors(layout.microbatch) if memory.estimate(n).total <= used.available]
        if smaller and self.spec.trainer.per_device_parallelism > 0:
            raise JobError(
                "spec.trainer.perDeviceParallelism",
                f"{layout.microbatch} {numbers}. Use {smaller[-1]} or less.",
            )
        remedies = ["more hosts", "a larger spec.trainer.modelAxisSize", "devices with more memory"]
        if not self.spec.model.gradient_checkpointing:
            remedies.insert(0, "spec.model.gradientCheckpointing: true")
        raise JobError("spec.model", f"{numbers}. Use {listing(remedies)}.")

    def _other_hosts(self, hosts: int) -> str:
        """`, or 2 or 4 hosts`: numbers of hosts near to one with which the batch does not divide."""
        unit = self.fleet.hosts_per_slice
        near = (hosts - 2 * unit, hosts - unit, hosts + unit, hosts + 2 * unit)
        working = [count for count in near if count > 0 and self._divides(count)]
        return f", or {listing(working)} host{'s' * (working[-1] > 1)}" if working else ""

    def _divides(self, hosts: int) -> bool:
        data, rest = divmod(hosts * self._devices_per_host(hosts), self.spec.trainer.model_axis_size)
        unit = data * max(1, self.spec.trainer.per_device_parallelism)
        return not rest and self.spec.trainer.train_batch_size % unit == 0

    def _works(self, hosts: int) -> bool:
        try:
            self.lay_out(hosts)
        except JobError:
            return False
        return True


def _near(number: int, unit: int) -> str:
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"
