"""An estimate of the memory that training needs on one device. It follows the trainer's step, within a fifth or so."""

from dataclasses import dataclass

from lateen_api.accelerators import Kind
from lateen_api.plan.result import Memory, MeshShape
from lateen_api.plan.transformer import block_parameters, parameter_count
from lateen_api.precision import BYTES, Precision
from lateen_api.spec import ModelSpec

LOGITS_IN_A_CHUNK = 1 << 26
"""Entries of the logits that the trainer's cross entropy holds at once (lateen_trainer.models.loss)."""

_FLOAT32 = 4


@dataclass(frozen=True)
class MemoryModel:
    """All that the estimate depends on, besides the microbatch."""

    model: ModelSpec
    vocab_size: int
    precision: Precision
    mesh: MeshShape
    kind: Kind
    available: int | None

    def estimate(self, microbatch: int) -> Memory:
        """Memory of a device that works on `microbatch` sequences at once."""
        devices = self.mesh.data * self.mesh.model
        count = parameter_count(self.model, self.vocab_size)
        parameters = count * BYTES[self.precision.params] // devices
        optimizer = 2 * parameters  # AdamW's two running means
        gradients = 2 * count * _FLOAT32 // devices
        activations = self._activations(microbatch)
        return Memory(
            parameters=parameters,
            optimizer=optimizer,
            gradients=gradients,
            activations=activations,
            total=parameters + optimizer + gradients + activations,
            available=self.available,
        )

    def _activations(self, microbatch: int) -> int:
        model, size, split = self.model, BYTES[self.precision.compute], self.mesh.model
        tokens = microbatch * model.seq_len
        block = self._block(microbatch)
        if model.gradient_checkpointing:
            # The inputs of all blocks are kept, and one block at a time is at work with its gradients.
            blocks = model.num_layers * tokens * model.hidden_dim * size + 2 * block
        else:
            blocks = (model.num_layers + 1) * block
        # This block's parameters and the next one's, whole but for the tensor axis.
        gathered = 2 * block_parameters(model) * size // split
        # The output layer whole, and its gradient; logits, exponentials and gradient of a chunk of positions.
        head = self.vocab_size * model.hidden_dim * (size + _FLOAT32)
        logits = 3 * min(tokens * self.vocab_size, LOGITS_IN_A_CHUNK) * _FLOAT32
        return blocks + gathered + head + logits

    def _block(self, microbatch: int) -> int:
        """Intermediate results of one block, in bytes."""
        model, size, split = self.model, BYTES[self.precision.compute], self.mesh.model
        tokens = microbatch * model.seq_len
        # Two norms, output of attention and MLP, residual; q, k, v, values; before and behind the activation.
        widths = 5 * model.hidden_dim + (4 + 2 * model.mlp_scale) * model.hidden_dim // split
        scores = 0
        if not self._has_fused_attention():
            # Scores in the computation's type before and behind their softmax, in float32 within it.
            scores = tokens * model.seq_len * model.num_heads * (2 * size + _FLOAT32) // split
        return tokens * widths * size + scores

    def _has_fused_attention(self) -> bool:
        model = self.model
        half = BYTES[self.precision.compute] == 2
        return self.kind == "gpu" and half and not model.upcast_attn and model.attn_pdrop == 0
