"""Models that transformers wrote, read onto meshes: every family with every option."""

import jax
import numpy as np
import pytest
import torch
from lateen_api.hugging_face.config import differences, read_model
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.hugging_face import exchange
from lateen_trainer.hugging_face.weights import Weights
from trainer.hugging_face.folders import (
    FIELD,
    load,
    load_from,
    logits_of,
    random_reference,
    read_config,
    reference_logits,
    sources_of,
)
from trainer.models.small_specs import ALL, IN_TRANSFORMERS, VOCAB, small_spec


@pytest.mark.parametrize("name", IN_TRANSFORMERS)
def test_a_folder_of_transformers_gives_its_model_and_its_logits(name, tmp_path):
    spec = small_spec(ALL[name])
    reference = random_reference(spec, VOCAB)
    reference.save_pretrained(tmp_path)

    read = read_model(read_config(tmp_path))
    model = load(tmp_path, spec, VOCAB, data=2, model=1)

    assert differences(spec, read) == []
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, 24))
    np.testing.assert_allclose(logits_of(model, tokens), reference_logits(reference, tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3, tied"])
def test_every_mesh_gets_the_same_bits(name, tmp_path):
    spec = small_spec(ALL[name])
    random_reference(spec, VOCAB).save_pretrained(tmp_path)

    one, *others = (load(tmp_path, spec, VOCAB, data=data, model=model) for data, model in ((1, 1), (8, 1), (4, 2)))

    for other in others:
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2)])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_columns_that_are_exchanged_have_the_same_bits_and_each_byte_is_read_once(
    name, data, model, tmp_path, monkeypatch
):
    """The vocabulary of 65 is divided over 8 devices: the last one reads less than the others."""
    spec = small_spec(ALL[name])
    random_reference(spec, VOCAB, dtype=torch.bfloat16).save_pretrained(tmp_path)
    expected = load(tmp_path, spec, VOCAB)
    monkeypatch.setattr(exchange, "SMALLEST", 0)
    weights = Weights(ModelFolder(str(tmp_path), FIELD), gap=0)
    header = weights.traffic.bytes_read
    exchanged = [
        source.leaf.name
        for source in sources_of(weights, spec, VOCAB, data=data, model=model)
        if exchange.exchange(source, 2) is not None
    ]

    loaded = load_from(weights, spec, VOCAB, data=data, model=model)

    jax.tree.map(np.testing.assert_array_equal, expected, loaded)
    assert {"gpt2": "wte", "llama": "untied_head"}[name] in exchanged
    tensors = sum(place.entry.nbytes for place in weights.tensors.values())
    assert weights.traffic.bytes_read - header == tensors


def test_long_runs_and_small_arrays_are_read_where_they_belong(tmp_path):
    spec = small_spec({**ALL["llama"], "hiddenDim": 512, "intermediateDim": 2048, "numLayers": 1})
    random_reference(spec, VOCAB).save_pretrained(tmp_path)
    weights = Weights(ModelFolder(str(tmp_path), FIELD))

    def exchanged(item_bytes: int) -> set[str]:
        sources = sources_of(weights, spec, VOCAB, data=2)
        return {
            source.leaf.name.rpartition("blocks.")[2] for source in sources if exchange.exchange(source, item_bytes)
        }

    assert exchanged(4) == {"mlp.gate_proj.weight", "mlp.up_proj.weight", "self_attn.q_proj.weight"}
    assert exchanged(200) >= {"embed_tokens", "self_attn.q_proj.weight"}
    assert exchanged(400) == set()
