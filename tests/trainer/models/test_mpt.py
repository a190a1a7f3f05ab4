"""MPT beside transformers' MptForCausalLM and beside its formulas in torch: logits, loss and all gradients."""

import math
import re
from collections.abc import Callable
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis, NamedArray
from lateen_api.spec import MptSpec
from lateen_trainer.models.alibi import alibi_slopes
from lateen_trainer.models.loss import next_token_losses
from lateen_trainer.models.mpt import Mpt, MptConfig
from trainer.models.small_specs import MPT, MPTS, VOCAB, small_spec
from transformers import MptConfig as TransformersConfig
from transformers import MptForCausalLM
from transformers.activations import ACT2FN
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

Tensors = dict[str, torch.Tensor]


def random_tensors(spec: MptSpec) -> Tensors:
    """Under transformers' names; no norm is 1, which would hide a mix-up."""
    generator, width = torch.Generator().manual_seed(0), spec.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (VOCAB, width), "norm_f.weight": (width,)}
    if not spec.alibi:
        shapes["wpe.weight"] = (spec.seq_len, width)
    for layer in range(spec.num_layers):
        of_block = {
            "norm_1.weight": (width,),
            "attn.Wqkv.weight": (3 * width, width),
            "attn.out_proj.weight": (width, width),
            "norm_2.weight": (width,),
            "ffn.up_proj.weight": (spec.mlp_scale * width, width),
            "ffn.down_proj.weight": (width, spec.mlp_scale * width),
        }
        if spec.qk_ln:
            of_block |= {"attn.q_ln.weight": (width,), "attn.k_ln.weight": (width,)}
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in of_block.items()}
    if not spec.no_bias:
        shapes |= {
            name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items() if not re.match("wte|wpe", name)
        }
    return {
        name: (torch.randn(shape, generator=generator) * 0.1 + (len(shape) == 1)).requires_grad_()
        for name, shape in shapes.items()
    }


def of_transformers(spec: MptSpec, tensors: Tensors, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of MptForCausalLM with these tensors as its parameters."""
    model = MptForCausalLM(
        TransformersConfig(
            d_model=spec.hidden_dim,
            n_heads=spec.num_heads,
            n_layers=spec.num_layers,
            max_seq_len=64,
            vocab_size=VOCAB,
            layer_norm_epsilon=spec.layer_norm_epsilon,
            attn_config={"clip_qkv": spec.clip_qkv, "softmax_scale": spec.softmax_scale},
        )
    )
    named = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    return torch.func.functional_call(model, named, (tokens,), {"use_cache": False}).logits


def of_the_formulas(spec: MptSpec, tensors: Tensors, tokens: torch.Tensor) -> torch.Tensor:
    """Logits, with what transformers leaves out."""
    width, heads, length = spec.hidden_dim, spec.num_heads, tokens.shape[1]
    scale = 1 / math.sqrt(width // heads) if spec.softmax_scale is None else spec.softmax_scale

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        return torch.nn.functional.layer_norm(x, (width,), weight, bias, spec.layer_norm_epsilon)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.nn.functional.linear(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))

    slopes = build_mpt_alibi_tensor(heads, 2, alibi_bias_max=spec.alibi_bias_max)[:, 0, 0].neg()
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]
    bias = (slopes[:, None, None] * distance * spec.alibi).masked_fill(distance > 0, -torch.inf)
    x = tensors["wte.weight"][tokens] + (0 if spec.alibi else tensors["wpe.weight"][:length])
    for layer in range(spec.num_layers):
        block = f"blocks.{layer}"
        qkv = linear(norm(x, f"{block}.norm_1"), f"{block}.attn.Wqkv")
        if spec.clip_qkv is not None:
            qkv = qkv.clamp(-spec.clip_qkv, spec.clip_qkv)
        q, k, v = qkv.chunk(3, dim=-1)
        if spec.qk_ln:
            q, k = norm(q, f"{block}.attn.q_ln"), norm(k, f"{block}.attn.k_ln")
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) * scale + bias
        out = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
        x = x + linear(out, f"{block}.attn.out_proj")
        inner = ACT2FN[spec.activation_function](linear(norm(x, f"{block}.norm_2"), f"{block}.ffn.up_proj"))
        x = x + linear(inner, f"{block}.ffn.down_proj")
    return norm(x, "norm_f") @ tensors["wte.weight"].T


def with_tensors(model: Mpt, tensors: dict[str, np.ndarray]) -> Mpt:
    """An Mpt whose arrays are taken from tensors under transformers' names; matrices of torch are [out, in]."""

    def array(name: str, axes: tuple[Axis, ...]) -> np.ndarray:
        name = name.replace("wqkv", "Wqkv")
        tensor = tensors[f"{name}.weight" if name in ("wte", "wpe") else name]
        is_linear = tensor.ndim == 2 and name not in ("wte", "wpe")
        return (tensor.T if is_linear else tensor).reshape([axis.size for axis in axes])

    def by_path(path: Any, leaf: NamedArray) -> NamedArray:
        fields = [key.name for key in path]
        if fields[0] != "blocks":
            return hax.named(jnp.asarray(array(".".join(fields), leaf.axes)), leaf.axes)
        layers = range(model.blocks.Layers.size)
        parts = [array(f"blocks.{i}.{'.'.join(fields[2:])}", leaf.axes[1:]) for i in layers]
        return hax.named(jnp.asarray(np.stack(parts)), leaf.axes)

    return jax.tree_util.tree_map_with_path(by_path, model, is_leaf=hax.util.is_named_array)


def assert_agree(ours: Any, theirs: Any, name: str) -> None:
    """To 1e-4 of the greatest number. 1e-8 is for a gradient that is 0 but for rounding: no softmax changes with what
    is added to all keys alike."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max() + 1e-8, rtol=0, err_msg=name)


def compare(body: dict[str, Any], logits_of: Callable[[MptSpec, Tensors, torch.Tensor], torch.Tensor]) -> None:
    """Logits at every position of a sequence longer than those of training, if positions have no end, the loss, and all
    gradients."""
    spec = small_spec(body)
    assert isinstance(spec, MptSpec)
    length = 40 if spec.alibi else spec.seq_len
    tensors = random_tensors(spec)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, length + 1))
    expected_logits = logits_of(spec, tensors, torch.from_numpy(tokens[:, :-1]))
    expected_loss = torch.nn.functional.cross_entropy(
        expected_logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).flatten()
    )
    expected_loss.backward()
    config = MptConfig(spec, VOCAB)
    model = with_tensors(
        Mpt.init(config, key=jax.random.key(0)), {name: x.detach().numpy() for name, x in tensors.items()}
    )
    axes = (Axis("batch", 2), Axis("position", length))
    inputs, targets = (hax.named(jnp.asarray(x), axes) for x in (tokens[:, :-1], tokens[:, 1:]))

    def loss_and_logits(model: Mpt):
        weights = hax.full(axes, 1 / targets.size)
        loss = next_token_losses(model.hidden(inputs), model.lm_head, targets, weights)
        return loss, model.logits(inputs).rearrange((*axes, config.Vocab)).array

    (loss, logits), gradients = jax.jit(jax.value_and_grad(loss_and_logits, has_aux=True))(model)

    assert config.longest_context == (None if spec.alibi else spec.seq_len)
    assert_agree(logits, expected_logits.detach(), "logits")
    np.testing.assert_allclose(loss, expected_loss.item(), rtol=1e-4)
    expected = with_tensors(model, {name: np.asarray(x.grad) for name, x in tensors.items()})
    jax.tree_util.tree_map_with_path(
        lambda path, ours, theirs: assert_agree(ours, theirs, jax.tree_util.keystr(path)), gradients, expected
    )


@pytest.mark.parametrize(
    "name",
    ["mpt", "mpt, heads that are no power of two", "mpt, one head", "mpt, clipped", "mpt, scale of the scores"],
)
def test_logits_loss_and_gradients_agree_with_transformers(name: str):
    compare(MPTS[name], of_transformers)


@pytest.mark.parametrize("name", ["mpt", "mpt, norms of queries and keys", "mpt, steep", "mpt, all options"])
def test_logits_loss_and_gradients_agree_with_the_formulas(name: str):
    compare(MPTS[name], of_the_formulas)


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 7, 12, 32, 40])
def test_slopes_are_those_of_transformers_for_any_number_of_heads(heads: int):
    slopes = alibi_slopes(Axis("heads", heads))

    np.testing.assert_allclose(slopes.array, -build_mpt_alibi_tensor(heads, 2)[:, 0, 0].numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["embedPdrop", "residPdrop", "attnPdrop"])
def test_each_dropout_changes_the_output_and_a_key_settles_it(name: str):
    spec = small_spec({**MPT, name: 0.2, "numLayers": 1})
    assert isinstance(spec, MptSpec) and spec.has_dropout
    model = Mpt.init(MptConfig(spec, VOCAB), key=jax.random.key(0))
    tokens = hax.random.randint(jax.random.key(1), (Axis("batch", 1), Axis("position", 8)), 0, VOCAB)

    first, again, other, none = (
        np.asarray(model.hidden(tokens, key=key).array)
        for key in (jax.random.key(2), jax.random.key(2), jax.random.key(3), None)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, none)
