"""`spec.trainer`: the training loop."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Section


class TrainerSpec(Section):
    """The training loop: how long, how large, in what precision, on what mesh."""

    num_train_steps: int = Field(default=400_000, ge=1, lt=2**31)
    """Optimizer steps in all."""

    train_batch_size: int = Field(default=512, ge=1)
    """Sequences in a step, over all devices."""

    per_device_parallelism: int = Field(default=-1, ge=-1)
    """Sequences that a device works on at once; gradients of several such microbatches are accumulated.
    -1: chosen by the plan."""

    per_device_eval_parallelism: int = Field(default=-1, ge=-1)
    """The same in evaluation. -1: as in training."""

    mp: str = "f32"
    """Mixed precision in jmp's notation: `f32`, or `p=f32,c=bfloat16` (p parameters, c computation)."""

    model_axis_size: int = Field(default=1, ge=1)
    """Devices over which each layer is split (tensor parallelism)."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of initialisation, data order and dropout."""

    steps_per_eval: int = Field(default=1000, ge=1)
    """Steps between two evaluations. There is always one after the last step."""

    max_eval_batches: int | None = Field(default=None, ge=1)
    """Batches in an evaluation; null: all of the validation set. A batch is one microbatch of each lane in elastic
    mode, of each device in fast mode."""

    reproducibility: Literal["elastic", "fast"] = "elastic"
    """`elastic`: losses equal to the bit on any power of two of devices. `fast`: on the same number only."""

    lanes: int | None = Field(default=None, ge=1)
    """Fixed pieces into which each batch is cut in elastic mode: a power of two, at least two for each
    device that the job may get along the data axis. null: chosen by the plan from the job alone."""

    fsdp_axis: str = "embed"
    """Named axis along which parameters and optimizer state are divided over the data axis of the mesh."""

    tensor_parallel_axes: list[str] = Field(default=["mlp", "heads"], max_length=16)
    """Named axes that are divided over the model axis of the mesh. With `vocab` among them the embedding and the output
    layer are divided too, and padded to a multiple of 128 entries; what is padded is never trained, sampled or
    exported."""

    initialize_from: str | None = None
    """Checkpoint of another run whose parameters this run starts from."""
