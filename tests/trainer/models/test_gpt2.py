"""GPT-2 beside transformers' GPT2LMHeadModel with equal weights: logits and gradients."""

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis
from lateen_api.spec import Gpt2Spec
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.models.loss import next_token_losses
from transformers import GPT2Config, GPT2LMHeadModel

VOCAB = 65
SMALL = {"seqLen": 24, "hiddenDim": 32, "numLayers": 3, "numHeads": 4}


def reference_model(spec: Gpt2Spec) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=spec.seq_len,
        n_embd=spec.hidden_dim,
        n_layer=spec.num_layers,
        n_head=spec.num_heads,
        activation_function=spec.activation_function,
        scale_attn_by_inverse_layer_idx=spec.scale_attn_by_inverse_layer_idx,
        reorder_and_upcast_attn=spec.upcast_attn,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():  # biases and norms start as 0 and 1, which would hide a mix-up
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def with_weights_of(model: Gpt2, tensors: dict[str, np.ndarray]) -> Gpt2:
    """A Gpt2 whose arrays are taken from tensors under transformers' names."""

    def stacked(name: str, like) -> hax.NamedArray:
        layers = [tensors[f"transformer.h.{i}.{name}"] for i in range(model.blocks.Layers.size)]
        return hax.named(jnp.asarray(np.stack(layers).reshape(like.array.shape)), like.axes)

    def one(name: str, like) -> hax.NamedArray:
        return hax.named(jnp.asarray(tensors[f"transformer.{name}"]), like.axes)

    def by_path(path, leaf):
        names = [key.name for key in path]
        if names[0] == "blocks":
            return stacked(".".join(names[2:]), leaf)
        name = ".".join(names)
        return one(f"{name}.weight" if name in ("wte", "wpe") else name, leaf)

    return jax.tree_util.tree_map_with_path(by_path, model, is_leaf=hax.util.is_named_array)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradientCheckpointing": False},
        {"scaleAttnByInverseLayerIdx": True},
        {"upcastAttn": True},
        {"activationFunction": "gelu"},
        {"activationFunction": "relu"},
        {"activationFunction": "quick_gelu"},
    ],
    ids=lambda options: ",".join(options) or "default",
)
def test_logits_and_gradients_agree_with_transformers(options):
    spec = Gpt2Spec.model_validate({**SMALL, **options})
    reference = reference_model(spec)
    config = Gpt2Config(spec, VOCAB)
    tensors = {name: value.detach().numpy() for name, value in reference.named_parameters()}
    model = with_weights_of(Gpt2.init(config, key=jax.random.key(0)), tensors)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, spec.seq_len + 1))

    reference_logits = reference(torch.from_numpy(tokens[:, :-1])).logits
    reference_loss = torch.nn.functional.cross_entropy(
        reference_logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).flatten()
    )
    reference_loss.backward()

    Batch = Axis("batch", 2)
    inputs = hax.named(jnp.asarray(tokens[:, :-1]), (Batch, config.Pos))
    targets = hax.named(jnp.asarray(tokens[:, 1:]), (Batch, config.Pos))

    def loss_of(model: Gpt2):
        weights = hax.full((Batch, config.Pos), 1 / targets.size)
        return next_token_losses(model.hidden(inputs), model.lm_head, targets, weights)

    loss, gradients = jax.value_and_grad(loss_of)(model)

    np.testing.assert_allclose(model.logits(inputs).array, reference_logits.detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(loss, reference_loss.item(), atol=1e-5)
    expected = with_weights_of(
        model,
        {name: value.grad.numpy() for name, value in reference.named_parameters() if value.grad is not None},
    )
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-4), gradients, expected)


def test_a_token_sees_only_those_before_it():
    config = Gpt2Config(Gpt2Spec.model_validate(SMALL), VOCAB)
    model = Gpt2.init(config, key=jax.random.key(0))
    Batch = Axis("batch", 1)
    tokens = hax.random.randint(jax.random.key(1), (Batch, config.Pos), 0, VOCAB)
    changed = tokens.updated_slice({"position": 10}, hax.zeros((Batch, Axis("position", 14)), dtype=jnp.int32))

    before, after = (np.asarray(model.logits(t).array) for t in (tokens, changed))

    np.testing.assert_array_equal(before[:, :10], after[:, :10])
    assert not np.allclose(before[:, 10:], after[:, 10:])


def test_dropout_depends_on_its_key_alone():
    spec = Gpt2Spec.model_validate({**SMALL, "embedPdrop": 0.1, "residPdrop": 0.1, "attnPdrop": 0.1})
    config = Gpt2Config(spec, VOCAB)
    model = Gpt2.init(config, key=jax.random.key(0))
    tokens = hax.zeros((Axis("batch", 2), config.Pos), dtype=jnp.int32)

    first, again, other, none = (
        np.asarray(model.hidden(tokens, key=key).array)
        for key in (jax.random.key(1), jax.random.key(1), jax.random.key(2), None)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, none)


def test_initial_weights_have_the_papers_deviations():
    spec = Gpt2Spec.model_validate({**SMALL, "hiddenDim": 128, "initializerRange": 0.02})
    model = Gpt2.init(Gpt2Config(spec, VOCAB), key=jax.random.key(0))

    assert float(model.wte.array.std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.blocks.blocks.mlp.c_fc.weight.array.std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.blocks.blocks.mlp.c_proj.weight.array.std()) == pytest.approx(0.02 / 6**0.5, rel=0.05)
    assert float(abs(model.blocks.blocks.attn.c_attn.bias.array).max()) == 0.0
