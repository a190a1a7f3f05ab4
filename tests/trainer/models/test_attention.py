"""Causal attention beside the plain formula in float64: values and gradients, with all that changes the scores."""

import itertools
from collections.abc import Iterator
from typing import Any

import haliax as hax
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis
from lateen_trainer.models import blockwise
from lateen_trainer.models.attention import causal_attention
from lateen_trainer.models.blockwise import blockwise_causal_attention
from lateen_trainer.models.scores import ScoreTerms

BATCH, HEADS, GROUP, HEAD_SIZE = 2, 3, 2, 8


def plain_attention(q, k, v, alibi, segments, bias, window: int | None) -> torch.Tensor:
    """The formula as it is written, in float64: q [b, h, g, s, d], k and v [b, h, s, d]; keys are repeated."""
    length = q.shape[3]
    keys, values = (x[:, :, None].expand(-1, -1, q.shape[2], -1, -1) for x in (k, v))
    scores = q @ keys.transpose(-1, -2)
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    if alibi is not None:
        scores = scores - alibi[:, :, None, None] * (i - j)
    if bias is not None:
        scores = scores + bias
    hidden = j > i
    if window is not None:
        hidden = hidden | (j <= i - window)
    if segments is not None:
        hidden = hidden | (segments[:, None, None, :, None] != segments[:, None, None, None, :])
    return torch.softmax(scores.masked_fill(hidden, -torch.inf), -1) @ values


def inputs(length: int, *, group: int, alibi: bool, segments: bool, bias: bool, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "q": rng.normal(size=(BATCH, HEADS, group, length, HEAD_SIZE)),
        "k": rng.normal(size=(BATCH, HEADS, length, HEAD_SIZE)),
        "v": rng.normal(size=(BATCH, HEADS, length, HEAD_SIZE)),
        "alibi": 2.0 ** -np.arange(1, HEADS * group + 1).reshape(HEADS, group) if alibi else None,
        "segments": np.sort(rng.integers(0, 4, (BATCH, length)), axis=1) if segments else None,
        "bias": rng.normal(size=(1, HEADS, 1, length, length)) if bias else None,
    }


def reference(given: dict, cotangent: np.ndarray, window: int | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Values, and gradients of Σ values · cotangent."""
    tensors = {name: None if x is None else torch.from_numpy(x) for name, x in given.items()}
    trained = {name: x.requires_grad_() for name, x in tensors.items() if x is not None and name != "segments"}
    out = plain_attention(**tensors, window=window)
    (out * torch.from_numpy(cotangent)).sum().backward()
    return out.detach().numpy(), {name: np.asarray(x.grad) for name, x in trained.items()}


def ungrouped(name: str, x: Any) -> Any:
    """Without the axis of the group, which is the third of the query, the bias and the slopes."""
    return x if x is None or name in ("k", "v", "segments") else x.squeeze(1 if name == "alibi" else 2)


TERMS = [
    {"alibi": chosen[0], "segments": chosen[1], "bias": chosen[2]}
    for chosen in itertools.product([False, True], repeat=3)
]


@pytest.mark.parametrize("group", [1, GROUP], ids=["ungrouped", "grouped"])
@pytest.mark.parametrize("window", [None, 20], ids="window={}".format)
@pytest.mark.parametrize(
    "terms", TERMS, ids=lambda terms: "+".join(name for name, present in terms.items() if present) or "plain"
)
def test_values_and_gradients_are_those_of_the_plain_formula(terms, window, group, monkeypatch):
    """With blocks of 16 positions, the last of 5."""
    check(53, window, group, terms, monkeypatch)


@pytest.mark.parametrize(("length", "window"), [(5, None), (5, 3), (16, 16), (48, 1), (48, 5), (48, 47), (48, 100)])
def test_lengths_and_windows_may_be_of_any_size(length, window, monkeypatch):
    check(length, window, GROUP, TERMS[-1], monkeypatch)


def check(length: int, window: int | None, group: int, terms: dict[str, bool], monkeypatch):
    """The blockwise attention, in blocks of 16 positions or more, beside the plain formula."""
    monkeypatch.setattr(blockwise, "LEAST_BLOCK", 16)
    given = inputs(length, group=group, **terms)
    cotangent = np.random.default_rng(1).normal(size=given["q"].shape)
    expected, expected_gradients = reference(given, cotangent, window)
    if group == 1:
        given = {name: ungrouped(name, x) for name, x in given.items()}
        cotangent, expected = ungrouped("q", cotangent), ungrouped("q", expected)
        expected_gradients = {name: ungrouped(name, x) for name, x in expected_gradients.items()}
    arrays = {name: None if x is None else jnp.asarray(x, x.dtype.str[1] + "4") for name, x in given.items()}
    segments = arrays.pop("segments")

    def outcome(arrays):
        score_terms = ScoreTerms(arrays["alibi"], segments, arrays["bias"])
        out = blockwise_causal_attention(arrays["q"], arrays["k"], arrays["v"], score_terms, window=window)
        return jnp.sum(out * cotangent.astype(np.float32)), out

    gradients, out = jax.jit(jax.grad(outcome, has_aux=True))(arrays)

    np.testing.assert_allclose(out, expected, atol=3e-6)
    for name, gradient in expected_gradients.items():
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-5 * max(1, abs(gradient).max()), err_msg=name)


def named(given: dict) -> dict[str, Any]:
    """The arguments of causal_attention, with their axes in an order that is not that of the kernels."""
    length = given["q"].shape[3]
    axes = {
        name: Axis(name, size)
        for name, size in {
            "batch": BATCH,
            "heads": HEADS,
            "group": given["q"].shape[2],
            "position": length,
            "key_position": length,
            "head_size": HEAD_SIZE,
        }.items()
    }

    def array(name: str, stored: str, order: str) -> hax.NamedArray | None:
        if given[name] is None:
            return None
        dtype = jnp.int32 if name == "segments" else jnp.float32
        x = jnp.asarray(given[name], dtype).reshape([axes[axis].size for axis in stored.split()])
        return hax.named(x, tuple(axes[axis] for axis in stored.split())).rearrange(tuple(order.split()))

    return {
        "query": array("q", "batch heads group position head_size", "batch position heads group head_size"),
        "key": array("k", "batch heads position head_size", "batch position heads head_size"),
        "value": array("v", "batch heads position head_size", "batch position heads head_size"),
        "alibi": array("alibi", "heads group", "group heads"),
        "segments": array("segments", "batch position", "position batch"),
        "bias": array("bias", "heads position key_position", "key_position heads position"),
    }


@pytest.mark.parametrize("dropout", [0.0, 1e-9], ids=["blockwise", "with dropout"])
@pytest.mark.parametrize("window", [None, 9], ids="window={}".format)
def test_named_axes_come_in_any_order(window, dropout):
    given = inputs(24, group=GROUP, alibi=True, segments=True, bias=True)
    expected, _ = reference(given, np.zeros(given["q"].shape), window)

    out = causal_attention(**named(given), scale=1.0, window=window, dropout=dropout, dropout_key=jax.random.key(0))

    axes = ("batch", "heads", "group", "position", "head_size")
    np.testing.assert_allclose(out.rearrange(axes).array, expected, atol=3e-6)


def test_slopes_without_a_group_are_those_of_all_its_heads():
    given = inputs(24, group=GROUP, alibi=True, segments=False, bias=False)
    given["alibi"] = np.repeat(given["alibi"][:, :1], GROUP, axis=1)
    arguments = named(given)
    slopes = arguments.pop("alibi")

    alone, repeated = (causal_attention(**arguments, scale=1.0, alibi=a) for a in (slopes["group", 0], slopes))

    np.testing.assert_array_equal(alone.array, repeated.array)


def test_a_layer_says_whether_it_has_the_window():
    arguments = named(inputs(24, group=GROUP, alibi=False, segments=False, bias=False))

    @jax.jit
    def by_layer(query, windowed):
        attend = lambda q: causal_attention(  # noqa: E731
            q, arguments["key"], arguments["value"], scale=1.0, window=5, windowed=windowed
        )
        return attend(query).array, jax.grad(lambda q: attend(q).sum().scalar())(query).array

    def always(window):
        attend = lambda q: causal_attention(q, arguments["key"], arguments["value"], scale=1.0, window=window)  # noqa: E731
        return attend(arguments["query"]).array, jax.grad(lambda q: attend(q).sum().scalar())(arguments["query"]).array

    for windowed, window in ((True, 5), (False, None)):
        for ours, expected in zip(by_layer(arguments["query"], jnp.asarray(windowed)), always(window), strict=True):
            np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_grouped_keys_are_never_repeated():
    """Nothing but products is made of keys and values, forward and backward; no other array of theirs is larger."""
    given = inputs(300, group=5, alibi=False, segments=False, bias=False)  # blocks of 128
    q, k, v = (jnp.asarray(given[name], jnp.float32) for name in "qkv")

    def both_passes(keys_and_values):
        out, backward = jax.vjp(lambda q, k, v: blockwise_causal_attention(q, k, v), q, *keys_and_values)
        return backward(out)

    program = jax.make_jaxpr(both_passes)((k, v)).jaxpr

    assert list(sizes_made_of(program, program.invars))
    assert max(sizes_made_of(program, program.invars)) <= k.size


def sizes_made_of(program, arrays) -> Iterator[int]:
    """Sizes of all that a program makes of these of its arrays by anything but products."""
    made = set(arrays)
    for equation in program.eqns:
        inputs = [isinstance(x, jax.extend.core.Var) and x in made for x in equation.invars]
        if not any(inputs) or equation.primitive.name == "dot_general":
            continue
        if equation.primitive.name in ("jit", "pjit"):
            inner = equation.params["jaxpr"].jaxpr
            yield from sizes_made_of(inner, [x for x, given in zip(inner.invars, inputs, strict=True) if given])
            continue
        yield from (x.aval.size for x in equation.outvars)
        made.update(equation.outvars)


def test_what_the_window_hides_is_not_computed(monkeypatch):
    monkeypatch.setattr(blockwise, "LEAST_BLOCK", 16)
    q = jnp.ones((1, 1, 256, 8))

    def flops(window: int | None) -> float:
        loss = lambda q: blockwise_causal_attention(q, q, q, window=window).sum()  # noqa: E731
        costs = jax.jit(jax.grad(loss)).lower(q).compile().cost_analysis()
        assert costs is not None
        return costs["flops"]

    assert flops(16) < 0.3 * flops(None)


def test_narrow_inputs_are_computed_in_their_type_and_summed_in_float32():
    given = inputs(40, group=GROUP, alibi=True, segments=False, bias=False)
    expected, _ = reference(given, np.zeros(given["q"].shape), None)
    arguments = {
        name: x.astype(jnp.bfloat16) if name in ("query", "key", "value") else x
        for name, x in named(given).items()
        if x is not None
    }

    out = causal_attention(**arguments, scale=1.0)

    assert out.dtype == jnp.bfloat16
    axes = ("batch", "heads", "group", "position", "head_size")
    np.testing.assert_allclose(out.rearrange(axes).array.astype(np.float32), expected, atol=0.06)


@pytest.mark.parametrize("group", [None, GROUP], ids=["heads", "grouped heads"])
def test_derivatives_in_bfloat16_are_those_of_float32_rounded(group):
    """Two sequences and two heads of keys: the products that XLA's CPU backend once compiled and could not run."""
    shape = (2, 2, 48, 16)
    rng = np.random.default_rng(1)
    of_queries = shape if group is None else (2, 2, group, 48, 16)
    q, k, v = (jnp.asarray(rng.normal(size=s), jnp.bfloat16) for s in (of_queries, shape, shape))

    def loss(q, k, v):
        return jnp.sum(blockwise_causal_attention(q, k, v).astype(jnp.float32) ** 2)

    narrow = jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)
    full = jax.jit(jax.grad(loss, (0, 1, 2)))(*(x.astype(jnp.float32) for x in (q, k, v)))

    for ours, theirs in zip(narrow, full, strict=True):
        assert ours.dtype == jnp.bfloat16
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours.astype(np.float32) / scale, theirs / scale, atol=0.02)
