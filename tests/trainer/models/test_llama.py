"""Llama, Mistral, Qwen2 and Qwen3 beside transformers' models with equal weights: logits, loss and all gradients."""

from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis, NamedArray
from lateen_api.spec import LlamaLikeSpec
from lateen_trainer.generate.samples import sample
from lateen_trainer.models.llama import Llama, LlamaConfig
from lateen_trainer.models.loss import next_token_losses
from trainer.models.small_specs import LLAMA, LLAMA_LIKE, MISTRAL, VOCAB, small_spec
from transformers import (
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

REFERENCES = {
    "llama": LlamaForCausalLM,
    "mistral": MistralForCausalLM,
    "qwen2": Qwen2ForCausalLM,
    "qwen3": Qwen3ForCausalLM,
}
ROPE_NAMES = {"type": "rope_type", "theta": "rope_theta"}


def reference_model(spec: LlamaLikeSpec) -> PreTrainedModel:
    """transformers' model of the spec with random weights; no norm is 1 and no bias 0, which would hide a mix-up."""
    torch.manual_seed(0)
    rope = {ROPE_NAMES.get(k, k): v for k, v in spec.rope.model_dump(exclude_none=True).items()}
    options = {name: getattr(spec, name) for name in ("attention_bias", "mlp_bias") if hasattr(spec, name)}
    if hasattr(spec, "sliding_window"):
        options["sliding_window"] = spec.sliding_window
    if spec.type in ("qwen2", "qwen3"):
        options["use_sliding_window"] = spec.sliding_window is not None
        options["layer_types"] = ["full_attention" if w is None else "sliding_attention" for w in spec.windows]
    cls = REFERENCES[spec.type]
    model = cls(
        cls.config_class(
            vocab_size=VOCAB,
            hidden_size=spec.hidden_dim,
            intermediate_size=spec.intermediate_dim,
            num_hidden_layers=spec.num_layers,
            num_attention_heads=spec.num_heads,
            num_key_value_heads=spec.kv_heads,
            head_dim=spec.head_size,
            hidden_act=spec.activation_function,
            max_position_embeddings=spec.seq_len,
            rms_norm_eps=spec.layer_norm_epsilon,
            tie_word_embeddings=spec.tie_word_embeddings,
            rope_parameters=rope,
            attn_implementation="eager",
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
            **options,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def with_weights_of(model: Llama, tensors: dict[str, torch.Tensor]) -> Llama:
    """A Llama whose arrays are taken from tensors under transformers' names.

    A matrix of torch is [out, in], with heads of queries in the order of their number: head of keys first, number in
    its group second.
    """
    names = {"untied_head": "lm_head.weight", "embed_tokens": "model.embed_tokens.weight"}

    def matrix(name: str, like: NamedArray, axes: tuple[Axis, ...]) -> np.ndarray:
        array = tensors[name].detach().numpy()
        is_projection = "_proj.weight" in name
        return (array.T if is_projection else array).reshape([axis.size for axis in axes])

    def by_path(path: Any, leaf: NamedArray) -> NamedArray:
        fields = [key.name for key in path]
        if fields[0] == "blocks":
            name = ".".join(fields[2:])
            layers = range(model.blocks.Layers.size)
            parts = [matrix(f"model.layers.{i}.{name}", leaf, leaf.axes[1:]) for i in layers]
            return hax.named(jnp.asarray(np.stack(parts)), leaf.axes)
        name = ".".join(fields)
        return hax.named(jnp.asarray(matrix(names.get(name, f"model.{name}"), leaf, leaf.axes)), leaf.axes)

    return jax.tree_util.tree_map_with_path(by_path, model, is_leaf=hax.util.is_named_array)


def assert_agree(ours: Any, theirs: Any, name: str) -> None:
    """To 1e-4 of the greatest number."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max(), rtol=0, err_msg=name)


def compare_with_transformers(body: dict[str, Any], length: int) -> None:
    """Logits at every position, the loss, and the gradient of every array."""
    spec = small_spec(body)
    reference = reference_model(spec)
    config = LlamaConfig(spec, VOCAB)
    model = with_weights_of(Llama.init(config, key=jax.random.key(0)), dict(reference.named_parameters()))
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, length + 1))

    reference_logits = reference(torch.from_numpy(tokens[:, :-1]), use_cache=False).logits
    reference_loss = torch.nn.functional.cross_entropy(
        reference_logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).flatten()
    )
    reference_loss.backward()

    Batch, Pos = Axis("batch", 2), Axis("position", length)
    inputs = hax.named(jnp.asarray(tokens[:, :-1]), (Batch, Pos))
    targets = hax.named(jnp.asarray(tokens[:, 1:]), (Batch, Pos))

    def loss_and_logits(model: Llama):
        weights = hax.full((Batch, Pos), 1 / targets.size)
        loss = next_token_losses(model.hidden(inputs), model.lm_head, targets, weights)
        return loss, model.logits(inputs).rearrange((Batch, Pos, config.Vocab)).array

    (loss, logits), gradients = jax.jit(jax.value_and_grad(loss_and_logits, has_aux=True))(model)

    assert_agree(logits, reference_logits.detach(), "logits")
    np.testing.assert_allclose(loss, reference_loss.item(), rtol=1e-4)
    expected = with_weights_of(model, {name: value.grad for name, value in reference.named_parameters()})
    jax.tree_util.tree_map_with_path(
        lambda path, ours, theirs: assert_agree(ours, theirs, jax.tree_util.keystr(path)), gradients, expected
    )


@pytest.mark.parametrize("body", LLAMA_LIKE.values(), ids=LLAMA_LIKE)
def test_logits_loss_and_gradients_agree_with_transformers(body: dict[str, Any]):
    """Sequences are longer than the windows and than the original context of the scaled rotary embeddings."""
    compare_with_transformers(body, length=24)


@pytest.mark.parametrize("scaling", ["llama", "llama, linear", "llama, dynamic", "llama, yarn", "llama 3", "mistral"])
def test_sequences_longer_than_those_of_training_agree_with_transformers(scaling: str):
    compare_with_transformers({**LLAMA_LIKE[scaling], "seqLen": 12}, length=40)


def random_model(body: dict[str, Any]) -> Llama:
    return Llama.init(LlamaConfig(small_spec(body), VOCAB), key=jax.random.key(0))


def changed_positions(body: dict[str, Any], position: int) -> list[int]:
    """Positions of whose logits some change when the token at a position does."""
    model = random_model({**body, "initializerRange": 0.3})
    tokens = hax.random.randint(jax.random.key(1), (Axis("batch", 1), model.config.Pos), 0, VOCAB)
    other = tokens.array.at[0, position].set((tokens.array[0, position] + 1) % VOCAB)
    before, after = (np.asarray(model.logits(t).array)[0] for t in (tokens, hax.named(other, tokens.axes)))
    return [i for i in range(len(before)) if not np.array_equal(before[i], after[i])]


def test_a_token_sees_only_those_before_it():
    assert changed_positions(LLAMA, 10) == list(range(10, 24))


def test_a_window_reaches_back_by_its_length_in_each_layer():
    assert changed_positions(MISTRAL, 3) == list(range(3, 3 + 3 * (5 - 1) + 1))


def test_initial_weights_have_the_deviation_of_the_spec():
    model = random_model({**LLAMA, "hiddenDim": 128, "initializerRange": 0.02})
    block = model.blocks.blocks

    for weights in (model.embed_tokens, model.untied_head, block.self_attn.o_proj.weight, block.mlp.down_proj.weight):
        assert weights is not None
        assert float(weights.array.std()) == pytest.approx(0.02, rel=0.05)
    assert float(block.input_layernorm.weight.array.min()) == 1.0


def test_a_prompt_may_be_longer_than_the_sequences_of_training():
    drawn = sample(random_model(LLAMA), range(30), length=4, key=jax.random.key(0))
    assert drawn.shape == (4,)


def test_head_size_is_not_that_of_the_width():
    model = random_model({**LLAMA, "headDim": 16})
    assert {axis.name: axis.size for axis in model.blocks.blocks.self_attn.o_proj.weight.axes} == {
        "layers": 3, "heads": 2, "group": 2, "head_size": 16, "embed": 32,
    }  # fmt: skip
