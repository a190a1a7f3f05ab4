"""The kernels of accelerators on a CPU, beside the blockwise attention: values and gradients.

Splash attention is interpreted. For cuDNN's the same call is made to XLA's implementation of it, which takes the same
arguments: what reaches the kernel is seen, not what it makes of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_trainer.models.blockwise import blockwise_causal_attention
from lateen_trainer.models.fused import cudnn_attention, cudnn_takes, splash_attention, splash_takes
from lateen_trainer.models.scores import ScoreTerms

BATCH, HEADS, GROUP, HEAD_SIZE = 2, 2, 3, 64


def compare(kernel, length: int, terms: ScoreTerms, *, group: int | None, window: int | None):
    """Values and gradients of a kernel and of the blockwise attention."""
    rng = np.random.default_rng(0)
    heads = (BATCH, HEADS) if group is None else (BATCH, HEADS, group)
    q, cotangent = (jnp.asarray(rng.normal(size=(*heads, length, HEAD_SIZE)), jnp.float32) for _ in range(2))
    k, v = (jnp.asarray(rng.normal(size=(BATCH, HEADS, length, HEAD_SIZE)), jnp.float32) for _ in range(2))

    def outcome(attention):
        def loss(q, k, v):
            out = attention(q / 8, k, v, terms, window=window)
            return jnp.sum(out * cotangent), out

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    ours, expected = outcome(kernel), outcome(blockwise_causal_attention)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-5), ours, expected)


def segments(length: int) -> jax.Array:
    return jnp.asarray(np.sort(np.random.default_rng(1).integers(0, 3, (BATCH, length)), axis=1), jnp.int32)


@pytest.mark.parametrize("window", [None, 100], ids="window={}".format)
@pytest.mark.parametrize("packed", [False, True], ids=["one document", "segments"])
@pytest.mark.parametrize("group", [None, GROUP], ids=["ungrouped", "grouped"])
def test_splash_attention_has_the_values_and_gradients_of_the_blockwise_one(group, packed, window):
    terms = ScoreTerms(segments=segments(256) if packed else None)

    compare(functools.partial(splash_attention, interpret=True), 256, terms, group=group, window=window)


@pytest.mark.parametrize("bias_shape", [None, (1, HEADS, 1), (BATCH, 1, GROUP), (1, 1, 1)], ids="bias={}".format)
@pytest.mark.parametrize(
    ("group", "others"),
    [(GROUP, False), (GROUP, True), (None, True)],
    ids=["grouped", "grouped with all others", "ungrouped with all others"],
)
def test_cudnn_is_given_what_the_blockwise_attention_computes(group, others, bias_shape, monkeypatch):
    original = jax.nn.dot_product_attention
    monkeypatch.setattr(
        jax.nn, "dot_product_attention", lambda *args, **named: original(*args, **{**named, "implementation": "xla"})
    )
    length, rng = 30, np.random.default_rng(2)
    if bias_shape is not None and group is None:
        bias_shape = bias_shape[:2]
    slopes = jnp.asarray(rng.uniform(size=(HEADS,) if group is None else (HEADS, group)), jnp.float32)
    terms = ScoreTerms(
        alibi=slopes if others else None,
        segments=segments(length) if others else None,
        bias=None if bias_shape is None else jnp.asarray(rng.normal(size=(*bias_shape, length, length)), jnp.float32),
    )

    compare(cudnn_attention, length, terms, group=group, window=7 if others else None)


def test_what_no_kernel_takes_is_left_to_the_blockwise_attention():
    alibi, masked = ScoreTerms(alibi=jnp.ones(2)), ScoreTerms(segments=segments(128))
    narrow, wide = jnp.dtype("bfloat16"), jnp.dtype("float32")

    assert [cudnn_takes(dtype, 128, 64, masked) for dtype in (narrow, wide)] == [True, False]
    assert [cudnn_takes(narrow, 128, size, ScoreTerms()) for size in (8, 20, 128, 256)] == [True, False, True, False]
    assert [cudnn_takes(narrow, 127, 64, terms) for terms in (ScoreTerms(), alibi, masked)] == [True, False, False]
    assert [splash_takes(length, masked) for length in (128, 200, 256)] == [True, False, True]
    assert not splash_takes(128, alibi)
