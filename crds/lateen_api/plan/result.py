"""What a job comes to: the result of planning, as the operator, the trainer and the command line read it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class PlanPart(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )


class MeshShape(PlanPart):
    """The mesh of devices: data × model."""

    data: int
    """Devices over which batches, parameters and optimizer state are divided."""

    model: int
    """Devices over which each layer is split."""


class Memory(PlanPart):
    """Estimated memory of one device at its fullest, in bytes."""

    parameters: int
    """The device's part of the parameters."""

    optimizer: int
    """The device's part of the optimizer state."""

    gradients: int
    """The device's part of the gradients: those of a microbatch and their sums."""

    activations: int
    """What a microbatch needs: saved activations, one block at work, gathered parameters, logits."""

    total: int
    available: int | None
    """Memory of a device; None: not known."""


class PlannedParameter(PlanPart):
    """How one array of parameters is trained."""

    name: str
    """As checkpoints and `spec.optimizer.groups` name it."""

    axes: dict[str, int]
    """Its named axes and their sizes."""

    rule: str
    """The algorithm: `spec.optimizer.type`, or adamw for what Muon leaves to it."""

    learning_rate: float
    """At its peak."""

    weight_decay: float


class PlannedSource(PlanPart):
    """What a run takes from a source of its training data."""

    name: str
    """As in `spec.data.configs`; empty without a mixture."""

    share: float
    """Of the run's sequences, 0 to 1."""

    sequences: int
    """Expected in the whole run."""

    files: int | None = None
    """Files that the source has now; None: not looked at, as by the operator."""

    bytes: int | None = None
    """Of these files, as stored."""

    available: int | None = None
    """Sequences in the source; None: not known."""

    epochs: float | None = None
    """Times that the run reads all of them; None: not known."""

    unknown: str | None = None
    """Why they are not known; None: they are, or were not looked at."""


class Plan(PlanPart):
    """What a job comes to. Field names are camelCase in JSON."""

    accelerator: str
    """As in `spec.compute.accelerator`."""

    accelerator_kind: Literal["cpu", "gpu", "tpu"]

    hosts: int
    """Hosts in all; each runs one process."""

    slices: int
    """TPU slices; 1 for CPU and GPU hosts."""

    hosts_per_slice: int

    processes: int
    """Trainer processes: one a host."""

    devices_per_host: int
    """JAX devices of a host."""

    devices: int
    """JAX devices in all."""

    network: str
    """The preset of `spec.compute.network` that the pods get; none: the pods' own network."""

    host_counts: list[int]
    """Numbers of hosts that the job may run on, fewest first."""

    mesh: MeshShape

    microbatch: int
    """Sequences that a device (or the devices that split its layers) works on at once."""

    eval_microbatch: int
    """The same in evaluation."""

    accumulation_steps: int
    """Microbatches of a device in a step."""

    lanes: int | None
    """Fixed pieces of a batch in elastic mode, each one microbatch; None: the mode is fast."""

    cpu_threads: int | None
    """Threads of XLA's pool in each process, on CPU hosts in elastic mode; None: as many as XLA chooses."""

    gather_once: bool
    """Gather all parameters once a step rather than layer by layer in each microbatch."""

    param_dtype: str
    """Type of parameters and optimizer state."""

    compute_dtype: str
    """Type of activations and matrix products."""

    tokens_per_step: int
    total_tokens: int
    """Tokens in all steps."""

    vocab_size: int
    """Entries of the vocabulary; estimated, if a warning says so."""

    padded_vocab_size: int
    """Entries of the vocabulary's axis in the parameters. Those behind `vocab_size` are zeros that are never trained,
    and count nowhere but in memory."""

    parameters: int
    """Numbers of the model, and of the adapters that `spec.trainer.lora` adds to it."""

    trainable_parameters: int
    """Those of them that are trained: all, or with LoRA those of the adapters."""

    flops_per_token: int
    """FLOPs of training on one token, forward and backward; `plan.transformer` has the formula."""

    peak_flops_per_device: float | None
    """Dense bfloat16 FLOP/s of a device; None: not known."""

    memory: Memory

    warmup_steps: int
    """Steps of the linear warm-up."""

    decay_steps: int
    """Steps in which the learning rate falls to its end."""

    optimizer: list[PlannedParameter]
    """What `spec.optimizer` says of each parameter that is trained."""

    evaluations: int
    """Evaluations in all; 0: there is no validation data."""

    sources: list[PlannedSource]
    """What the run takes from each source; without a mixture from one, whose name is empty."""

    warnings: list[str]
    """What is allowed but should be known."""
