"""Models that transformers wrote, read onto meshes: every family with every option."""

import jax
import numpy as np
import pytest
from lateen_api.hugging_face.config import differences, read_model
from trainer.hugging_face.folders import load, logits_of, random_reference, read_config, reference_logits
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
