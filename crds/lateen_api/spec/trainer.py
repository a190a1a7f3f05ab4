"""`spec.trainer`: the training loop."""

from typing import Annotated, Literal

from pydantic import Field

from lateen_api.spec.section import Section


class EmaSpec(Section):
    """An exponential moving average of the weights."""

    decay: float = Field(default=0.999, gt=0, lt=1)
    """Decay per step. In step n it is at most n / (9 + n), so that the first weights soon count for nothing."""

    use: bool = True
    """Evaluate, sample from and export the averaged weights rather than the last ones."""


class LoraSpec(Section):
    """Low-rank adaptation: the model stays as it is, and small matrices beside its layers are trained. Hu et al.,
    https://arxiv.org/abs/2106.09685. Names and defaults are those of PEFT's LoraConfig."""

    rank: int = Field(default=8, ge=1, le=4096)
    """Rank of the product that is added to a layer's weights (PEFT's `r`)."""

    alpha: float = Field(default=8.0, gt=0)
    """The product counts alpha / rank times (PEFT's `lora_alpha`)."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Part of a layer's inputs that is dropped on the way to the added matrices (PEFT's `lora_dropout`)."""

    targets: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        default=None, min_length=1, max_length=64
    )
    """Layers that get such matrices, by their names in transformers (PEFT's `target_modules`): `q_proj`, `c_attn`, or
    `attn.c_proj` where the name alone means several; `all-linear` for all linear layers of the blocks. null: those
    that PEFT takes, the fused projection or `q_proj` and `v_proj`."""


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
    """Mixed precision in jmp's notation: `f32`, or `p=f32,c=bfloat16` (p parameters, c computation). Gradients, their
    sums and what the optimizer keeps are float32 in any case."""

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

    initialize_from: str | None = Field(default=None, min_length=1, max_length=1024)
    """Where the parameters come from that this run starts with: a checkpoint of lateen (the `checkpoint.path` of
    another run, or one step's folder in it), or a model in Hugging Face's format: a folder with `config.json` and
    safetensors, as a path or URL (`gs://`, `https://`), or `hf://org/name@revision` on the hub. `lateen run` and
    `lateen plan` read a model that `spec.model` leaves out from there. In a cluster `spec.model` must be stated,
    and is compared with it field by field."""

    sample_prompts: list[Annotated[str, Field(min_length=1, max_length=8192)]] = Field(default=[], max_length=16)
    """Texts that the trained model continues at the end of the run, by the run's seed: `samples` in `summary.json` and
    `result.json`, which `lateen run` shows. A continuation has 200 tokens or half of `model.seqLen`, whichever is less;
    the prompt has to fit into the context with it. Empty: `lateen run` shows how the model continues the beginning of
    the validation text."""

    lora: LoraSpec | None = None
    """Train small matrices beside some layers, and leave the model as it is. null: all of the model is trained."""

    ema: EmaSpec | None = None
    """An exponential moving average of the weights, kept beside them in checkpoints. null: none is kept."""
