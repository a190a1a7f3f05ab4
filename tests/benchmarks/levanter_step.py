"""Levanter's GPT-2 as a candidate of bench_train. Runs in an environment of its own, and imports nothing of lateen.

    levanter_step.py SHAPE

SHAPE is the JSON of bench_train's Shape. The step is that of Levanter's Trainer, with its defaults but for what the
others do as well: no gradient checkpointing, no tracker.
"""

import json
import os
import sys

import numpy as np
from candidate import serve


def levanter_step(shape):
    """(tokens) → loss: a step of Levanter's Trainer."""
    import haliax as hax
    import jax
    from haliax import Axis
    from levanter.layers.attention import AttentionMask
    from levanter.models.gpt2 import Gpt2Config
    from levanter.models.lm_model import LmExample, compute_next_token_loss
    from levanter.optim import AdamConfig
    from levanter.tracker import NoopConfig
    from levanter.trainer import Trainer, TrainerConfig

    # One device per core, as lateen has it.
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    model = Gpt2Config(
        seq_len=shape["seq_len"], hidden_dim=shape["hidden"], num_layers=shape["layers"], num_heads=shape["heads"],
        gradient_checkpointing=False,
    )  # fmt: skip
    config = TrainerConfig(
        id="bench", tracker=NoopConfig(), log_jaxprs=False, log_xla_hlo=False, train_batch_size=shape["batch"],
        num_train_steps=1000, require_accelerator=False,
    )  # fmt: skip
    optimizer = AdamConfig(learning_rate=6e-4, weight_decay=0.1, beta1=0.9, beta2=0.95, max_grad_norm=1.0).build(1000)
    trainer = Trainer(config, optimizer, compute_next_token_loss, add_default_hooks=False)
    trainer.__enter__()  # for the rest of the process
    vocab = hax.partitioning.round_axis_for_partitioning(Axis("vocab", shape["vocab"]), trainer.parameter_axis_mapping)
    keys = jax.random.split(jax.random.PRNGKey(0))
    state = trainer.initial_state(keys[0], model_init=lambda: model.build(vocab, key=keys[1]))
    axes = (Axis("batch", shape["batch"]), model.Pos)
    loss_mask = hax.broadcast_axis(LmExample.causal_loss_mask(model.Pos), axes[0])

    def train(tokens):
        nonlocal state
        batch = hax.shard(hax.named(tokens[:, :-1], axes), trainer.compute_axis_mapping)
        info = trainer.train_step(state, LmExample(tokens=batch, loss_mask=loss_mask, attn_mask=AttentionMask.causal()))
        state = info.state
        jax.block_until_ready(state.model)
        return info.loss

    return train


def main() -> None:
    import resource

    shape = json.loads(sys.argv[1])
    step, rng = levanter_step(shape), np.random.default_rng(0)

    def draw():
        return rng.integers(0, shape["vocab"], (shape["batch"], shape["seq_len"] + 1), dtype=np.int32)

    tokens = draw()

    def facts():
        nonlocal tokens
        tokens = draw()
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    serve(lambda: step(tokens), facts)


if __name__ == "__main__":
    main()
