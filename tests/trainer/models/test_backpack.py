"""Backpack beside the published formulas, written out in torch: logits, loss and all gradients.

The GPT-2 in it is that of transformers; senses, weights and their sum are written here sense by sense, with all
weights at hand.
"""

import math
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis, NamedArray
from lateen_api.spec import BackpackSpec
from lateen_trainer.models.backpack import Backpack, BackpackConfig
from lateen_trainer.models.loss import next_token_losses
from torch.nn.functional import cross_entropy, layer_norm
from trainer.models.small_specs import BACKPACK, BACKPACKS, VOCAB, small_spec
from transformers import GPT2Config, GPT2Model
from transformers.activations import ACT2FN

LENGTH = 24


def backpack_spec(body: dict[str, Any]) -> BackpackSpec:
    spec = small_spec(body)
    assert isinstance(spec, BackpackSpec)
    return spec


def reference_gpt2(spec: BackpackSpec) -> GPT2Model:
    """transformers' GPT-2 of the spec, whose weights are replaced by the tensors of `tensors_of`."""
    return GPT2Model(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=spec.seq_len,
            n_embd=spec.hidden_dim,
            n_layer=spec.num_layers,
            n_head=spec.num_heads,
            n_inner=spec.hidden_dim * spec.mlp_scale,
            activation_function=spec.activation_function,
            layer_norm_epsilon=spec.layer_norm_epsilon,
            scale_attn_by_inverse_layer_idx=spec.scale_attn_by_inverse_layer_idx,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            attn_implementation="eager",
        )
    ).double()


def reference_logits(spec: BackpackSpec, tensors: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """[batch, position, vocab], from tensors under the names of our arrays, layers apart."""
    gpt2 = {name.removeprefix("gpt2_model."): x for name, x in tensors.items() if name.startswith("gpt2_model.")}
    h = torch.func.functional_call(reference_gpt2(spec), gpt2, (tokens,)).last_hidden_state
    embedding = gpt2["wte.weight"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (tensors[f"sense_network.{name}.{part}"] for part in ("weight", "bias"))
        return layer_norm(x, (spec.hidden_dim,), weight, bias, spec.layer_norm_epsilon)

    def mlp(name: str, x: torch.Tensor) -> torch.Tensor:
        first, b1, second, b2 = (
            tensors[f"sense_network.{name}.{part}"]
            for part in ("c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias")
        )
        hidden = ACT2FN[spec.activation_function](x @ first + b1)
        return hidden @ second.flatten(1) + b2.flatten()

    x = embedding[tokens]
    residual = norm("ln", x) + x
    senses = mlp("final_mlp", norm("block.ln_2", residual + mlp("block.mlp", norm("block.ln_1", residual))))
    senses = senses.unflatten(-1, (spec.num_senses, spec.hidden_dim))

    out = torch.zeros_like(h)
    weight, bias = (tensors[f"sense_weight_net.c_attn.{part}"] for part in ("weight", "bias"))
    later = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    for sense in range(spec.num_senses):
        query, key = (h @ weight[:, part, sense] + bias[part, sense] for part in (0, 1))
        scores = query @ key.transpose(1, 2) / math.sqrt(spec.hidden_dim / spec.num_senses)
        out = out + torch.softmax(scores.masked_fill(later, -torch.inf), -1) @ senses[:, :, sense]
    return out @ embedding.T


def names_of(path: Any, leaf: NamedArray) -> list[str]:
    """The names of an array in `reference_logits`; one for each layer of a stack."""
    name = ".".join(key.name for key in path)
    if name in ("gpt2_model.wte", "gpt2_model.wpe"):
        return [f"{name}.weight"]
    if "blocks.blocks" in name:
        return [name.replace("blocks.blocks", f"h.{i}") for i in range(leaf.axes[0].size)]
    return [name]


def tensors_of(model: Backpack) -> dict[str, torch.Tensor]:
    """The arrays as tensors of 64 bits; those of GPT-2 with heads in one axis, as transformers has them."""
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(model, is_leaf=hax.util.is_named_array):
        names = names_of(path, leaf)
        x = torch.from_numpy(np.array(leaf.array, np.float64))
        for name, part in zip(names, x if len(names) > 1 else [x], strict=True):
            if name.endswith("attn.c_attn.weight") and ".h." in name:
                part = part.flatten(1)
            elif name.endswith("attn.c_proj.weight"):
                part = part.flatten(0, 1)
            elif name.endswith("attn.c_attn.bias") and ".h." in name:
                part = part.flatten()
            tensors[name] = part.clone().requires_grad_()
    return tensors


def random_model(body: dict[str, Any]) -> Backpack:
    """Random weights; no norm is 1 and no bias 0, which would hide a mix-up."""
    config = BackpackConfig(backpack_spec(body), VOCAB)
    model = Backpack.init(config, key=jax.random.key(0))
    leaves, structure = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        structure, [x + 0.1 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
    )


def assert_agree(ours: Any, theirs: Any, name: str) -> None:
    """To 1e-4 of the greatest number. 1e-8 is for gradients that are 0 but for rounding (of what all keys have)."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max() + 1e-8, rtol=0, err_msg=name)


@pytest.mark.parametrize("body", BACKPACKS.values(), ids=BACKPACKS)
def test_logits_loss_and_gradients_are_those_of_the_published_formulas(body: dict[str, Any]):
    model = random_model(body)
    spec = model.config.spec
    tensors = tensors_of(model)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, LENGTH + 1))
    expected_logits = reference_logits(spec, tensors, torch.from_numpy(tokens[:, :-1]))
    expected_loss = cross_entropy(expected_logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).flatten())
    expected_loss.backward()

    Batch, Pos = Axis("batch", 2), Axis("position", LENGTH)
    inputs, targets = (hax.named(jnp.asarray(part), (Batch, Pos)) for part in (tokens[:, :-1], tokens[:, 1:]))

    def loss_and_logits(model: Backpack):
        weights = hax.full((Batch, Pos), 1 / targets.size)
        loss = next_token_losses(model.hidden(inputs), model.lm_head, targets, weights)
        return loss, model.logits(inputs).rearrange((Batch, Pos, model.config.Vocab)).array

    (loss, logits), gradients = jax.jit(jax.value_and_grad(loss_and_logits, has_aux=True))(model)

    assert_agree(logits, expected_logits.detach(), "logits")
    np.testing.assert_allclose(loss, expected_loss.item(), rtol=1e-4)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients, is_leaf=hax.util.is_named_array):
        expected = [tensors[name].grad for name in names_of(path, leaf)]
        assert all(gradient is not None for gradient in expected)
        assert_agree(
            leaf.array,
            np.stack([np.asarray(x) for x in expected]).reshape(leaf.array.shape),
            jax.tree_util.keystr(path),
        )


def test_a_sense_does_not_depend_on_the_context():
    """What the network makes of a token is the same wherever the token stands, and whatever stands beside it."""
    model = random_model(BACKPACK)
    tokens = hax.named(jnp.asarray([[3, 5, 3], [7, 7, 3]]), (Axis("batch", 2), Axis("position", 3)))
    senses = model.sense_network(model.gpt2_model.wte.take("vocab", tokens), key=None)
    senses = senses.rearrange(("batch", "position", "senses", "embed")).array

    np.testing.assert_array_equal(senses[0, 0], senses[0, 2])
    np.testing.assert_array_equal(senses[0, 0], senses[1, 2])
    assert not np.array_equal(senses[0, 0], senses[0, 1])


def test_a_token_sees_only_those_before_it():
    model = random_model(BACKPACK)
    tokens = hax.random.randint(jax.random.key(1), (Axis("batch", 1), model.config.Pos), 0, VOCAB)
    other = hax.named(tokens.array.at[0, 10].set((tokens.array[0, 10] + 1) % VOCAB), tokens.axes)
    before, after = (np.asarray(model.logits(t).array)[0] for t in (tokens, other))
    assert [i for i in range(LENGTH) if not np.array_equal(before[i], after[i])] == list(range(10, LENGTH))


def test_dropout_changes_the_output_and_a_key_settles_it():
    model = random_model({**BACKPACK, "embedPdrop": 0.1, "residPdrop": 0.1})
    tokens = hax.random.randint(jax.random.key(1), (Axis("batch", 1), model.config.Pos), 0, VOCAB)
    first, again, other, none = (
        np.asarray(model.hidden(tokens, key=key).array)
        for key in (jax.random.key(2), jax.random.key(2), jax.random.key(3), None)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, none)


def test_initial_weights_have_the_deviation_of_the_spec():
    spec = backpack_spec({**BACKPACK, "hiddenDim": 128, "initializerRange": 0.02})
    model = Backpack.init(BackpackConfig(spec, VOCAB), key=jax.random.key(0))
    senses = model.sense_network.final_mlp

    assert float(senses.c_fc.weight.array.std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.sense_weight_net.c_attn.weight.array.std()) == pytest.approx(0.02, rel=0.05)
    assert float(senses.c_proj.weight.array.std()) == pytest.approx(0.02 / math.sqrt(2 * 3), rel=0.05)
