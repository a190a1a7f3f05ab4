"""Backpacks in the published form: config.json and tensors of the authors' BackpackGPT2LMHeadModel.

The class is code beside the published weights, which is not run here. A folder is written by its names and shapes, and
the logits are those of the formulas.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lateen_api.hugging_face.config import read_model
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec import BackpackSpec
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, export_model
from lateen_trainer.hugging_face.verify import verify_folder
from lateen_trainer.hugging_face.weights import Weights
from safetensors.torch import save_file
from trainer.hugging_face.folders import FIELD, load, load_from, logits_of, read_config
from trainer.hugging_face.test_export import import_and_export, tensors_of
from trainer.models.small_specs import BACKPACKS, VOCAB, small_spec
from trainer.models.test_backpack import random_model, reference_logits
from trainer.models.test_backpack import tensors_of as formula_tensors

Tensors = dict[str, torch.Tensor]
CONFIG = {
    "architectures": ["BackpackGPT2LMHeadModel"],
    "model_type": "gpt2",
    "auto_map": {
        "AutoConfig": "configuration_backpack_gpt2.BackpackGPT2Config",
        "AutoModelForCausalLM": "modeling_backpack_gpt2.BackpackGPT2LMHeadModel",
    },
    "n_positions": 24,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 2,
    "num_senses": 4,
    "vocab_size": VOCAB,
    "summary_type": "cls_index",
}


def published(tensors: Tensors) -> Tensors:
    """The tensors of the formulas, by the names and in the shapes of the class."""
    named = {f"backpack.{name}": value.detach().float() for name, value in tensors.items()}
    for part, first_axis in (("weight", 1), ("bias", 0)):
        name = f"backpack.sense_weight_net.c_attn.{part}"
        flat = named[name].flatten(first_axis)  # queries of all senses, then keys
        named[name] = flat.T.contiguous() if part == "weight" else flat
        name = f"backpack.sense_network.final_mlp.c_proj.{part}"
        named[name] = named[name].flatten(first_axis)
    return named


def write_folder(folder: Path, tensors: Tensors, dtype: torch.dtype = torch.float32) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({name: value.to(dtype).clone() for name, value in tensors.items()}, folder / "model.safetensors")


@pytest.fixture(scope="module")
def formulas() -> Tensors:
    """Random weights under the names of the formulas."""
    return formula_tensors(random_model(BACKPACKS["backpack"]))


def test_the_logits_of_a_published_folder_are_those_of_the_formulas(formulas, tmp_path):
    write_folder(tmp_path / "source", published(formulas))
    spec = read_model(CONFIG)
    assert isinstance(spec, BackpackSpec)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, 24))

    logits = logits_of(load(tmp_path / "source", spec, VOCAB, data=2, model=2), tokens)

    expected = reference_logits(spec, formulas, torch.from_numpy(tokens)).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_what_is_imported_is_exported_in_the_same_bits(formulas, dtype, tmp_path):
    """Copies that are the same module there, and masks of old versions, among it."""
    tensors = published(formulas)
    embedding = tensors["backpack.gpt2_model.wte.weight"]
    tensors |= {"lm_head.weight": embedding, "backpack.word_embeddings.weight": embedding}
    write_folder(tmp_path / "source", tensors | {"backpack.gpt2_model.h.0.attn.bias": torch.ones(1, 1, 24, 24)}, dtype)

    import_and_export(tmp_path / "source", tmp_path / "target", data=4, file_bytes=20_000)

    exported = tensors_of(tmp_path / "target")
    assert exported.keys() == tensors.keys()
    for name, value in tensors.items():
        assert exported[name].dtype == dtype
        assert torch.equal(exported[name], value.to(dtype)), name


def test_keys_are_kept_and_the_class_is_found_where_it_is_published(formulas, tmp_path):
    write_folder(tmp_path / "source", published(formulas))

    import_and_export(tmp_path / "source", tmp_path / "target")

    config = read_config(tmp_path / "target")
    assert {key: value for key, value in config.items() if key != "auto_map"} == {
        key: value for key, value in CONFIG.items() if key != "auto_map"
    }
    assert config["auto_map"] == {
        name: f"stanfordnlp/backpack-gpt2--{place}" for name, place in CONFIG["auto_map"].items()
    }


def test_a_new_model_is_read_back(tmp_path):
    body = BACKPACKS["backpack"]
    model = random_model(body)
    spec = model.config.spec
    about = ExportedModel(spec, VOCAB, "bytes", 64, "# Card\n")
    export_model(model, about, Destination(str(tmp_path), field="spec.export.huggingFace"), file_bytes=1 << 30)

    told = verify_folder(tmp_path, spec, model)

    assert told == (
        "Verified: the parameters are those of the checkpoint. transformers has no BackpackGPT2LMHeadModel of its own, "
        "so that no logits were compared."
    )
    exported = tensors_of(tmp_path)
    shapes = {name: tuple(value.shape) for name, value in exported.items()}
    assert shapes == {name: tuple(value.shape) for name, value in published(formula_tensors(model)).items()}
    assert read_model(read_config(tmp_path)) == small_spec({**body, "vocabSize": VOCAB})
    again = load_from(Weights(ModelFolder(str(tmp_path), FIELD)), spec, VOCAB)
    tokens = np.arange(24)[None]
    np.testing.assert_array_equal(logits_of(again, tokens), logits_of(model, tokens))
