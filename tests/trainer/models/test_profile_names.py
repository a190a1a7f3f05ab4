"""The names that a profile shows are the model's own."""

import re

import jax
import jax.numpy as jnp
import pytest
from lateen_trainer.data.batch import Batch
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.step.microbatch import whole_loss
from trainer.models.small_specs import ALL, VOCAB, small_spec


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_operations_of_both_passes_carry_the_names_of_their_modules(family):
    config = make_config(small_spec(ALL[family]), VOCAB)
    model = init_model(config, key=jax.random.key(0))
    tokens = jnp.zeros((2, config.Pos.size + 1), jnp.int32)

    loss = lambda model: whole_loss(model, Batch(tokens), None, key=None)  # noqa: E731
    program = jax.jit(jax.grad(loss)).lower(model).compile().as_text()

    names = re.findall(r'op_name="(.*?)"', program or "")
    modules = ("embedding", "block/attention", "block/mlp", "block/norm", "norm", "loss")
    assert [module for module in modules if not any(re.search(rf"\b{module}\b", name) for name in names)] == []
    backward = "\n".join(name for name in names if "transpose(" in name)
    assert [module for module in modules[1:4] if module not in backward] == []
