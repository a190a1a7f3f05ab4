"""A batch whose loss is not finite, in the compiled step that leaves it out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step

VOCAB = 97
CONFIG = Gpt2Config(Gpt2Spec(seq_len=16, hidden_dim=32, num_layers=2, num_heads=4, resid_pdrop=0.1), VOCAB)
SPEC = AdamWSpec(learning_rate=1e-2, warmup=4)
LANES, BATCH = 8, 16
BAD = 2


def batches(*numbers: int) -> list[np.ndarray]:
    """Some of the batches 0, 1, 2, …, of which one holds a token beyond the vocabulary."""
    tokens = np.random.default_rng(0).integers(0, VOCAB, (6, BATCH, 17), dtype=np.int32)
    tokens[BAD, 5, 7] = VOCAB + 3
    return [tokens[number] for number in numbers]


def train(rows: list[np.ndarray], *, skip: bool, elastic: bool, gather_once: bool, width: int = 4):
    """The metrics of each batch, and the state as bytes behind it."""
    rules = ShardingRules(make_mesh(width, 1, jax.devices()[:width]), most_data=LANES // 2)
    optimizer = make_optimizer(SPEC, num_steps=10)
    schedule = learning_rate_schedule(SPEC, num_steps=10)
    key = jax.random.key(7)
    settings = StepSettings(rules, optimizer, schedule, jnp.dtype("float32"), gather_once, key, elastic, skip)
    state = init_state(lambda: Gpt2.init(CONFIG, key=jax.random.key(0)), optimizer, rules)
    step, placement = make_train_step(settings), BatchPlacement(rules, BATCH, LANES // width)
    metrics, states = [], []
    for batch in rows:
        state, numbers = step(state, placement.place(Batch(batch)))
        metrics.append({name: float(value) for name, value in numbers.items()})
        states.append([np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)])
    assert step._cache_size() == 1, "the step was compiled twice"
    return metrics, states


def check_a_bad_batch_is_as_if_it_had_not_been_there(*, elastic: bool, gather_once: bool):
    with_it, its_states = train(batches(0, 1, BAD, 3, 4), skip=True, elastic=elastic, gather_once=gather_once)
    without, states = train(batches(0, 1, 3, 4), skip=False, elastic=elastic, gather_once=gather_once)

    assert np.isnan([with_it[BAD]["loss"], with_it[BAD]["grad_norm"]]).all()
    assert its_states[BAD] == its_states[BAD - 1], "the bad batch changed something"
    del with_it[BAD], its_states[BAD]
    assert with_it == without
    assert its_states == states


def test_a_bad_batch_is_as_if_it_had_not_been_there():
    check_a_bad_batch_is_as_if_it_had_not_been_there(elastic=True, gather_once=True)


@pytest.mark.slow
@pytest.mark.parametrize(("elastic", "gather_once"), [(True, False), (False, True), (False, False)])
def test_in_the_other_modes_too(elastic, gather_once):
    """Each compiles two programs; they buy that no way through XLA lets anything of a bad batch through."""
    check_a_bad_batch_is_as_if_it_had_not_been_there(elastic=elastic, gather_once=gather_once)


def test_without_the_setting_a_bad_batch_ruins_the_parameters():
    metrics, _ = train(batches(BAD, 3), skip=False, elastic=True, gather_once=True)
    assert np.isnan(metrics[1]["loss"])


@pytest.mark.slow
def test_every_width_gives_the_same_bits_across_a_bad_batch():
    """Two programs are compiled; they buy that the choice between old and new state is not fused with the sums that
    gave the new one, in another way for shards of another length."""
    rows = batches(0, 1, BAD, 3, 4)
    (ones, one), (fours, four) = (train(rows, skip=True, elastic=True, gather_once=True, width=w) for w in (1, 4))

    np.testing.assert_equal(fours, ones)
    assert four == one
