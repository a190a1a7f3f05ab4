"""What compiling a job's step shows: the result of `lateen plan --compile`."""

from lateen_api.plan.result import PlanPart


class CompiledMemory(PlanPart):
    """What the compiler allots on one device, in bytes."""

    arguments: int
    """Parameters, optimizer state and tokens."""

    outputs: int
    """New state and metrics that do not lie in the memory of the arguments."""

    temporaries: int
    """Everything between, at its fullest: gradients, activations, gathered parameters."""

    code: int
    """The program itself, where it lies in the device's memory."""

    peak: int
    """What is in use at once, at most, by the compiler's own analysis. That of CPUs leaves temporaries out."""

    total: int
    """The sum, without the peak."""


class Collective(PlanPart):
    """All collectives of one kind."""

    count: int
    """Executed in a step; those in a loop count once per trip."""

    bytes: int
    """Bytes of their results on one device in a step."""


class Compiled(PlanPart):
    """The training step as the compiler of the accelerator makes it. Field names are camelCase in JSON."""

    device_kind: str
    """As JAX names the devices."""

    devices: int
    compile_seconds: float
    """Wall-clock time of lowering and compilation on this machine."""

    product_flops: int
    """FLOPs of the matrix products of a step on one device. Kernels are opaque: what they compute is not in it."""

    kernels: dict[str, int]
    """Custom calls by target, such as an attention kernel: executed in a step on one device."""

    memory: CompiledMemory

    collectives: dict[str, Collective]
    """By kind, such as `all-gather`."""
