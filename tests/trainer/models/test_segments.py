"""Documents that share a sequence are computed as if each stood alone: in every family, forward and backward."""

import haliax as hax
import jax
import numpy as np
import pytest
from haliax import Axis
from lateen_trainer.data.batch import PADDING, Batch
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.segments import positions
from lateen_trainer.step.microbatch import count_targets, whole_loss
from trainer.models.small_specs import BACKPACK, GPT2, LLAMA, MISTRAL, MPT, VOCAB, small_spec

LENGTHS = (7, 1, 11, 3)
"""Of the documents in a sequence of 24 tokens; two tokens are left, which are padding."""

FAMILIES = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral, a window": MISTRAL,
    "mpt, ALiBi": MPT,
    "mpt, learned positions": {**MPT, "alibi": False},
    "backpack": BACKPACK,
}


def make_model(body: dict):
    """A model whose arrays are all random: biases and norms that start as 0 and 1 would hide a mix-up."""
    model = init_model(make_config(small_spec(body), VOCAB), key=jax.random.key(0))
    leaves, structure = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return structure.unflatten([x + 0.1 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)])


def packed() -> Batch:
    """A sequence of 24 tokens."""
    tokens = np.random.default_rng(0).integers(0, VOCAB, sum(LENGTHS) + 2, dtype=np.int32)
    segments = np.append(np.repeat(np.arange(len(LENGTHS)), LENGTHS), [PADDING] * 2).astype(np.int32)
    return Batch(tokens[None], segments[None])


def alone(batch: Batch) -> Batch:
    """Its documents, each at the beginning of a sequence of its own: what is behind it, it cannot see. Not counted is
    what is not the document's."""
    tokens, counted = np.zeros((len(LENGTHS), 24), np.int32), np.zeros((len(LENGTHS), 24), np.uint8)
    for row, document in enumerate(np.split(batch.tokens[0, : sum(LENGTHS)], np.cumsum(LENGTHS)[:-1])):
        tokens[row, : len(document)], counted[row, : len(document)] = document, 1
    return Batch(tokens, counted=counted)


def logits(model, tokens: np.ndarray, segments: np.ndarray | None = None) -> np.ndarray:
    axes = (Axis("batch", len(tokens)), Axis("position", tokens.shape[1]))
    numbers = None if segments is None else hax.named(segments, axes)
    hidden = jax.jit(lambda model: model.hidden(hax.named(tokens, axes), segments=numbers))(model)
    return np.asarray(hax.dot(hidden, model.lm_head, axis="embed").array)[..., :VOCAB]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_a_document_in_a_packed_sequence_are_those_of_the_document_alone(name):
    model, batch = make_model(FAMILIES[name]), packed()

    together = logits(model, batch.tokens, batch.segments)[0]

    *documents, as_one = logits(model, np.concatenate([alone(batch).tokens, batch.tokens]))
    expected = np.concatenate([document[:length] for document, length in zip(documents, LENGTHS, strict=True)])
    np.testing.assert_allclose(together[: len(expected)], expected, atol=1e-5)
    assert np.isfinite(together).all()
    assert not np.allclose(as_one[: len(expected)], expected, atol=1e-2)


@pytest.mark.parametrize("name", ["gpt2", "llama", "mpt, ALiBi"])
def test_loss_and_gradient_of_a_packed_sequence_are_the_sums_of_those_of_its_documents(name):
    model, batch = make_model(FAMILIES[name]), packed()
    of_batch = jax.jit(jax.value_and_grad(lambda model, batch: whole_loss(model, batch, None, key=None)))

    loss, gradients = of_batch(model, batch)

    expected_loss, expected = of_batch(model, alone(batch))
    assert count_targets(batch) == count_targets(alone(batch)) == sum(LENGTHS) - len(LENGTHS)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
    for got, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-4, rtol=1e-4)


def test_positions_count_from_the_start_of_each_document():
    segments = hax.named(
        np.array([[0, 0, 0, 1, 2, 2, -1, -1], [4] * 8], np.int32), (Axis("batch", 2), Axis("position", 8))
    )

    counted = positions(Axis("position", 8), segments).array

    np.testing.assert_array_equal(counted, [[0, 1, 2, 0, 0, 1, 0, 1], np.arange(8)])
