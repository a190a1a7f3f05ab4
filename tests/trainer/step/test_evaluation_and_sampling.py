"""Evaluation on several meshes, votes, placement, and text from a model."""

import dataclasses

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.generate.samples import sample
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state
from lateen_trainer.step.train_step import StepSettings, make_eval_step
from lateen_trainer.step.votes import Votes

CONFIG = Gpt2Config(Gpt2Spec(seq_len=16, hidden_dim=32, num_layers=2, num_heads=4), vocab_size=97)
SPEC = AdamWSpec()
OPTIMIZER = make_optimizer(SPEC, num_steps=10)


def make_gpt2() -> Gpt2:
    return Gpt2.init(CONFIG, key=jax.random.key(0))


def rules_of(data: int, model: int) -> ShardingRules:
    return ShardingRules(make_mesh(data, model, jax.devices()[: data * model]))


def evaluate(data: int, model: int, *, gather_once: bool) -> float:
    rules = rules_of(data, model)
    schedule = learning_rate_schedule(SPEC, num_steps=10)
    step = make_eval_step(StepSettings(rules, OPTIMIZER, schedule, jnp.dtype("float32"), gather_once, None))
    state = init_state(make_gpt2, OPTIMIZER, rules)
    placement = BatchPlacement(rules, 8, 1)
    tokens = np.random.default_rng(0).integers(0, 97, (8, 17), dtype=np.int32)
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    loss, count = step(state.model, placement.place(Batch(tokens)), placement.place(weights))
    assert count is None, "all tokens count"
    return float(loss)


@pytest.mark.parametrize("gather_once", [False, True])
@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2), (2, 4)])
def test_evaluation_is_the_same_on_every_mesh_and_leaves_out_filling(data, model, gather_once):
    expected = evaluate(1, 1, gather_once=True)

    assert evaluate(data, model, gather_once=gather_once) == pytest.approx(expected, rel=1e-5)
    assert expected / (6 * 16) == pytest.approx(np.log(97), rel=0.02)  # an untrained model knows nothing


def test_rows_lie_microbatch_by_microbatch():
    placement = BatchPlacement(rules_of(4, 1), batch_size=16, microbatches=2)
    rows = np.arange(16, dtype=np.int32)[:, None]

    placed = placement.place(rows)

    np.testing.assert_array_equal(placement.rows, np.arange(16))
    assert placed.shape == (2, 8, 1)
    np.testing.assert_array_equal(placed.addressable_shards[1].data[..., 0], [[2, 3], [10, 11]])


@pytest.mark.parametrize("vote", [True, False])
def test_a_vote_is_what_was_cast(vote):
    assert bool(Votes(rules_of(4, 2)).cast(vote)) is vote


@pytest.mark.parametrize("temperature", [0, 5.0])
def test_a_sample_holds_no_padding_of_the_vocabulary(temperature):
    model = Gpt2.init(dataclasses.replace(CONFIG, padded_vocab_size=128), key=jax.random.key(0))
    likely = model.wte.updated_slice({"vocab": 97}, hax.full((hax.Axis("vocab", 31), CONFIG.Embed), 1.0))
    unlikely = model.wte.updated_slice({"vocab": 97}, hax.full((hax.Axis("vocab", 31), CONFIG.Embed), -1.0))

    for table in (likely, unlikely):
        drawn = sample(
            dataclasses.replace(model, wte=table), [1, 2], length=12, key=jax.random.key(0), temperature=temperature
        )
        assert drawn.max() < 97


def test_a_sample_is_the_likeliest_continuation_at_temperature_zero():
    model = make_gpt2()
    drawn = sample(model, [1, 2, 3], length=4, key=jax.random.key(0), temperature=0)

    tokens = [1, 2, 3]
    Batch, Pos = (CONFIG.Pos.alias("batch").resize(1), CONFIG.Pos)
    for _ in range(4):
        window = np.zeros((1, 16), np.int32)
        window[0, : len(tokens)] = tokens
        logits = model.logits(hax.named(jnp.asarray(window), (Batch, Pos))).array
        tokens.append(int(logits[0, len(tokens) - 1].argmax()))
    np.testing.assert_array_equal(drawn, tokens[3:])


def test_a_sample_ends_before_its_stop_token():
    model = make_gpt2()
    whole = sample(model, [1, 2, 3], length=6, key=jax.random.key(0), temperature=1.0)

    ended = sample(model, [1, 2, 3], length=6, key=jax.random.key(0), temperature=1.0, stop=int(whole[3]))

    np.testing.assert_array_equal(ended, whole[: list(whole).index(whole[3])])


def test_a_prompt_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="prompt of 10 and 10 new tokens do not fit into 16 positions"):
        sample(make_gpt2(), range(10), length=10, key=jax.random.key(0))
