"""An estimate of the memory that training needs on one device.

It follows the trainer's step: what is in use at its fullest point. docs/performance.md has it beside what XLA allots
for CPUs, GPUs and TPUs; `lateen plan --compile` asks the compiler itself.
"""

from dataclasses import dataclass

from lateen_api.plan.architecture import architecture
from lateen_api.plan.lora import adapter_activations, all_parameters, trained_parameters
from lateen_api.plan.parameter_rules import state_size
from lateen_api.plan.result import Memory, MeshShape
from lateen_api.plan.transformer import (
    block_parameters,
    parameter_count,
    parameters_of_a_part,
    parameters_outside_blocks,
)
from lateen_api.precision import BYTES, Precision
from lateen_api.spec import LoraSpec, OptimizerSpec, SophiaHSpec, SophiaSection
from lateen_api.spec.model import ModelSpec

LOGITS_IN_A_CHUNK = 1 << 26
"""Entries of the logits that the trainer's cross entropy holds at once (lateen_trainer.models.loss). Fewer cost time:
every chunk reads and writes the gradient of the whole head, and with GPT-2's vocabulary chunks below 1,024 positions
cost more than they save."""

GATHERED_BYTES = 1 << 30
"""A model whose parameters and gradients need no more than this is gathered once a step, not layer by layer."""

_FLOAT32 = 4


def positions_in_a_chunk(positions: int, vocab_size: int) -> int:
    """Positions whose logits the trainer's cross entropy holds at once, of so many in a microbatch.

    Chunks divide the positions where fewer than twice as many chunks do: rows that are cut at 1,261 of 16,384 lie
    across the tiles of a TPU.
    """
    fewest = max(1, -(-positions * vocab_size // LOGITS_IN_A_CHUNK))
    equal = next((count for count in range(fewest, 2 * fewest) if positions % count == 0), fewest)
    return -(-positions // equal)


def gathers_once(parameters: int) -> bool:
    """Is a model of so many parameters small enough to be gathered as a whole?"""
    return 2 * _FLOAT32 * parameters <= GATHERED_BYTES


@dataclass(frozen=True)
class MemoryModel:
    """All that the estimate depends on, besides the microbatch."""

    model: ModelSpec
    vocab_size: int
    """Padded, as parameters have it."""

    batch_size: int
    """Sequences of a step over all devices."""

    precision: Precision
    mesh: MeshShape
    tensor_axes: tuple[str, ...]
    """Axes that are divided over the model axis of the mesh."""

    available: int | None
    """Bytes of a device; None: not known."""

    optimizer: OptimizerSpec
    has_ema: bool
    """Are averaged weights kept beside the last ones?"""

    lora: LoraSpec | None = None
    """What is trained in place of the model; None: the model."""

    def estimate(self, microbatch: int, lanes: int | None = None) -> Memory:
        """Memory of a device that works on `microbatch` sequences at once, in elastic mode if there are lanes."""
        part, trained = self._parameters_of_a_part()
        parameters = part * BYTES[self.precision.params]
        optimizer = self._optimizer_state() * _FLOAT32
        if lanes is None:
            sums = 1 if microbatch * self.mesh.data < self.batch_size else 0
        else:
            sums = (lanes // self.mesh.data).bit_length() - 1  # one for each level of the tree over a device's lanes
        gradients = self._gradients(trained, sums)
        if isinstance(self.optimizer, SophiaSection):
            gradients += trained * _FLOAT32  # the step's own, while the curvature is estimated
        kept, block = self._blocks(microbatch)
        # The cross entropy is through with its logits before the first block goes back.
        activations = self._gathered(part) + kept + max(block, self._logits(microbatch))
        return Memory(
            parameters=parameters,
            optimizer=optimizer,
            gradients=gradients,
            activations=activations,
            total=parameters + optimizer + gradients + activations,
            available=self.available,
        )

    def _optimizer_state(self) -> int:
        """Numbers of a device: what the optimizer keeps, and the averaged weights."""
        axes = set(self.tensor_axes)
        numbers = 0
        for parameter in trained_parameters(self.model, self.vocab_size, self.lora):
            kept = state_size(self.optimizer, parameter.checkpoint_name, parameter.axes)
            kept += parameter.size if self.has_ema else 0
            numbers += kept // (self.mesh.model if parameter.axes.keys() & axes else 1)
        return numbers // self.mesh.data

    def _parameters_of_a_part(self) -> tuple[int, int]:
        """Parameters of a device, and those of them that are trained. Before they are divided over `data`, embeddings
        and norms are on all devices that split a layer."""
        kinds = [kind(self.model, self.vocab_size, self.lora) for kind in (all_parameters, trained_parameters)]
        every, trained = (parameters_of_a_part(kind, self.tensor_axes, self.mesh.model) for kind in kinds)
        return every // self.mesh.data, trained // self.mesh.data

    @property
    def _gathers_once(self) -> bool:
        return self.mesh.data > 1 and gathers_once(parameter_count(self.model, self.vocab_size))

    def _gradients(self, part: int, sums: int) -> int:
        """float32 gradients of a microbatch, and so many sums of several microbatches'."""
        narrow = BYTES[self.precision.compute]
        # A lone gradient is there in the computation's type and in float32.
        also_narrow = narrow if sums == 0 and narrow < _FLOAT32 else 0
        size = (1 + sums) * _FLOAT32 + also_narrow
        part_bytes = part * size
        if self._gathers_once:
            # They are whole on every device, and reduced to the device's part behind the last microbatch.
            return part_bytes * self.mesh.data + part * _FLOAT32
        return part_bytes

    def _gathered(self, part: int) -> int:
        """Parameters that the device has from the others, in the computation's type."""
        size, model = BYTES[self.precision.compute], self.model
        if self.mesh.data == 1:
            return 0
        if self._gathers_once:
            return part * self.mesh.data * size
        # This block and the next one, and what is no block's (embedding, output layer, …) with its gradients.
        blocks = 2 * block_parameters(model) * size // self.mesh.model
        gradient = _FLOAT32 if self.lora is None else 0
        return blocks + parameters_outside_blocks(model, self.vocab_size) * (size + gradient)

    def _blocks(self, microbatch: int) -> tuple[int, int]:
        """Activations that are kept for the backward pass, and those of the block at work."""
        model, size = self.model, BYTES[self.precision.compute]
        tokens = microbatch * model.seq_len
        shape = architecture(model, self.vocab_size)
        block = tokens * (shape.whole_activations + shape.divided_activations // self.mesh.model) * size
        if model.keeps_attention_weights:
            # Dropout needs all attention weights at hand: scores, weights and what is left of them.
            block += 3 * tokens * model.seq_len * model.num_heads * _FLOAT32 // self.mesh.model
        if self.lora is not None:
            block += tokens * adapter_activations(self.lora, model) * size
        behind = tokens * shape.activations_behind_blocks * size
        if isinstance(self.optimizer, SophiaHSpec):
            # A product with the Hessian recomputes nothing, and each activation has its derivative beside it.
            return 2 * (model.num_layers * block + behind), 2 * block
        if model.gradient_checkpointing:
            kept = model.num_layers + 2 * bool(behind)  # what is behind the blocks starts from two arrays
            return kept * tokens * model.hidden_dim * size, max(block, behind)
        return model.num_layers * block + behind, block

    def _logits(self, microbatch: int) -> int:
        """Logits of a chunk of positions in float32, and their gradient in the computation's type."""
        positions = positions_in_a_chunk(microbatch * self.model.seq_len, self.vocab_size)
        return positions * self.vocab_size * (_FLOAT32 + BYTES[self.precision.compute])
