"""A vocabulary that is padded so that it can be divided: neither read from a folder nor written into one."""

import jax
import numpy as np
import pytest
import torch
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, export_model
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import match
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config, tensor_map
from safetensors.torch import load_file
from trainer.hugging_face.folders import FIELD, random_reference, read_config
from trainer.models.small_specs import ALL, VOCAB, small_spec

PADDED = 128


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_padding_is_zero_behind_an_import_and_not_exported(name, tmp_path):
    """Of 128 rows on two devices the second one has a single one that means something."""
    spec, source, target = small_spec(ALL[name]), tmp_path / "source", tmp_path / "target"
    random_reference(spec, VOCAB).save_pretrained(source)
    rules = ShardingRules(make_mesh(1, 2, jax.devices()[:2]), "embed", ("vocab", "mlp", "heads"))
    config = make_config(spec, VOCAB, padded_vocab_size=PADDED)
    shapes = jax.eval_shape(lambda: init_model(config, key=jax.random.key(0)))
    template = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        rules.shardings(shapes),
    )
    weights = Weights(ModelFolder(str(source), FIELD))

    arrays = load_arrays(weights, match(weights, tensor_map(spec.type), named_leaves(template), VOCAB))
    model = jax.tree.unflatten(jax.tree.structure(template), arrays)
    about = ExportedModel(spec, VOCAB, "bytes", 256, "# Card\n", None)
    export_model(model, about, Destination(str(target), field="spec.export.huggingFace"), file_bytes=1 << 30)

    head = np.asarray(model.lm_head.rearrange(("vocab", "embed")).array)
    assert head.shape[0] == PADDED
    assert head[:VOCAB].all()
    assert not head[VOCAB:].any()
    before, after = load_file(source / "model.safetensors"), load_file(target / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[tensor], after[tensor]) for tensor in before)
    assert read_config(target)["vocab_size"] == VOCAB
