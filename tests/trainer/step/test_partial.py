"""Batches of which not all tokens count: documents that share sequences, and losses of some tokens only.

Slow ones compile several programs each; they buy equal bits at every width, in the modes of gathering, in both types
and with tensor parallelism. One lane of the batch counts nothing at all.
"""

import functools
import hashlib
from typing import Any, NamedTuple

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haliax import Axis
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import PADDING, Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state
from lateen_trainer.step.train_step import StepSettings, make_eval_step, make_train_step

CONFIG = Gpt2Config(Gpt2Spec(seq_len=24, hidden_dim=48, num_layers=2, num_heads=4, resid_pdrop=0.1), vocab_size=97)
SPEC = AdamWSpec(learning_rate=1e-2, max_grad_norm=0.6, warmup=0)
OPTIMIZER = make_optimizer(SPEC, num_steps=10)
SCHEDULE = learning_rate_schedule(SPEC, num_steps=10)
LANES, ROWS, STEPS = 16, 32, 3


def make_batch() -> Batch:
    """Sequences of several documents; of the first of all lanes nothing counts, of others here and there a token."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 97, (ROWS, 25), dtype=np.int32)
    segments = np.cumsum(rng.random((ROWS, 25)) < 0.15, axis=1, dtype=np.int32)
    segments[5:9, 18:] = PADDING
    counted = (rng.random((ROWS, 25)) < 0.6).astype(np.uint8)
    counted[: ROWS // LANES] = 0
    return Batch(tokens, segments, counted)


BATCH = make_batch()
NOTHING = BATCH._replace(counted=np.zeros_like(BATCH.counted))


def make_gpt2() -> Gpt2:
    return Gpt2.init(CONFIG, key=jax.random.key(0))


class Trained(NamedTuple):
    """Floats as they are, and a digest of all parameters and both running means."""

    losses: list[float]
    norms: list[float]
    counted: list[float]
    evaluation: float
    evaluated: int
    digest: str


@functools.cache
def train(
    data: int,
    model: int = 1,
    dtype: str = "float32",
    gather_once: bool = True,
    *,
    elastic: bool = True,
    drops: bool = True,
) -> Trained:
    """A few steps on one batch, then one on which nothing counts, and an evaluation."""
    rules = ShardingRules(make_mesh(data, model, jax.devices()[: data * model]), most_data=LANES // 2)
    key = jax.random.key(7) if drops else None
    settings = StepSettings(rules, OPTIMIZER, SCHEDULE, jnp.dtype(dtype), gather_once, key, elastic)
    state = init_state(make_gpt2, OPTIMIZER, rules)
    step, placement = make_train_step(settings), BatchPlacement(rules, ROWS, LANES // data)
    metrics: list[dict[str, Any]] = []
    for batch in (*[BATCH] * STEPS, NOTHING):
        state, numbers = step(state, placement.place(batch))
        metrics.append({name: float(value) for name, value in numbers.items()})
    assert step._cache_size() == 1, "the step was compiled twice"
    weights = np.ones(ROWS, np.float32)
    weights[-5:] = 0
    loss, count = make_eval_step(settings)(state.model, *placement.place((BATCH, weights)))
    leaves = jax.tree.leaves((state.model, state.opt_state[1].mu, state.opt_state[1].nu))
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()
    losses, norms, counted = (
        [numbers[name] for numbers in metrics] for name in ("loss", "grad_norm", "counted_tokens")
    )
    return Trained(losses, norms, counted, float(loss), int(count), digest)


@functools.cache
def expected() -> tuple[float, int]:
    """The mean loss of the counted tokens under the initial model, document by document, and their number."""
    model = make_gpt2()
    losses = []
    for tokens, segments, counted in zip(*BATCH, strict=True):
        for number in sorted(set(segments) - {PADDING}):
            document, weights = tokens[segments == number], counted[segments == number]
            if len(document) < 2:
                continue
            inputs = np.zeros((1, 24), np.int32)  # one shape for all: what follows a token does not change its logits
            inputs[0, : len(document) - 1] = document[:-1]
            logits = np.asarray(_logits(model, inputs), np.float64)[0, : len(document) - 1]
            log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            of_targets = -log_probabilities[np.arange(len(document) - 1), document[1:]]
            losses += of_targets[weights[1:] > 0].tolist()
    return float(np.mean(losses)), len(losses)


@jax.jit
def _logits(model: Gpt2, tokens: jax.Array) -> jax.Array:
    return model.logits(hax.named(tokens, (Axis("batch", 1), Axis("position", 24)))).array


@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
def test_the_loss_is_the_mean_over_the_counted_tokens_of_documents_by_themselves(elastic):
    loss, count = expected()

    trained = train(1, elastic=elastic, drops=False)

    assert trained.losses[0] == pytest.approx(loss, rel=1e-5)
    assert trained.counted == [count] * STEPS + [0]
    assert trained.losses[0] > trained.losses[STEPS - 1]


@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
def test_a_batch_without_any_counted_token_has_a_loss_and_a_gradient_of_zero(elastic):
    trained = train(1, elastic=elastic, drops=False)

    assert (trained.losses[-1], trained.norms[-1]) == (0.0, 0.0)
    assert np.isfinite(trained.evaluation)


def test_the_loss_does_not_depend_on_how_the_batch_is_cut():
    """In fast mode by devices and microbatches, of which some count more tokens than others."""
    one, four = (train(data, elastic=False, drops=False) for data in (1, 4))

    np.testing.assert_allclose(four.losses, one.losses, rtol=1e-5)
    np.testing.assert_allclose(four.norms, one.norms, rtol=1e-4)
    assert four.evaluation == pytest.approx(one.evaluation, rel=1e-5)
    assert four.evaluated == one.evaluated == count_of_evaluation()


def count_of_evaluation() -> int:
    segments = BATCH.segments[:-5]
    within = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != PADDING)
    return int((within & (BATCH.counted[:-5, 1:] == 1)).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dtype", "gather_once", "widths"),
    [
        (1, "float32", True, (1, 2, 4, 8)),
        (1, "float32", False, (1, 8)),
        (1, "bfloat16", True, (1, 8)),
        (2, "float32", True, (1, 2, 4)),
        (2, "bfloat16", False, (1, 4)),
    ],
)
def test_every_width_gives_the_same_bits(model, dtype, gather_once, widths):
    first, *others = (train(width, model, dtype, gather_once) for width in widths)

    assert others == [first] * len(others)
