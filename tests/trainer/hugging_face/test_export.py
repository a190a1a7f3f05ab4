"""Models exported to folders: the same bits as the folder that they were read from, and what transformers makes of
them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lateen_api.hugging_face.config import read_model, write_config
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, export_model
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.weights import Weights
from safetensors.torch import load_file
from trainer.hugging_face.folders import (
    FIELD,
    load_from,
    logits_of,
    random_reference,
    read_config,
    reference_logits,
    sources_of,
)
from trainer.models.small_specs import ALL, GPT2, IN_TRANSFORMERS, VOCAB, small_spec
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

LARGE = 1 << 30


def import_and_export(source: Path, target: Path, *, data: int = 1, file_bytes: int = LARGE) -> None:
    """Reads a folder onto a mesh and writes another, as a run without steps does."""
    config = read_config(source)
    spec = read_model(config)
    weights = Weights(ModelFolder(str(source), FIELD))
    vocab = config["vocab_size"]
    model = load_from(weights, spec, vocab, data=data)
    imported = Imported.of(weights, sources_of(weights, spec, vocab), config)
    imported = Imported.from_json(json.loads(json.dumps(imported.to_json())))
    about = ExportedModel(spec, vocab, "bytes", 256, "# Card\n", imported)
    export_model(model, about, Destination(str(target), field="spec.export.huggingFace"), file_bytes=file_bytes)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, as the library reads them."""
    return {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["gpt2", "llama", "llama, tied", "qwen3, biases of attention", "mpt, clipped"])
def test_what_is_imported_is_exported_in_the_same_bits(name, dtype, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    reference = random_reference(small_spec(ALL[name]), VOCAB, dtype=dtype)
    with torch.no_grad():  # the smallest numbers of the type, which some conversions make 0
        next(iter(reference.parameters())).view(-1)[:4] = torch.finfo(dtype).smallest_normal * torch.tensor(
            [0.25, -0.25, 1, 0]
        )
    reference.save_pretrained(source)

    import_and_export(source, target, data=4, file_bytes=20_000)

    before, after = tensors_of(source), tensors_of(target)
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        assert after[tensor].dtype == value.dtype
        assert after[tensor].shape == value.shape
        assert (
            after[tensor].numpy(force=True).tobytes() == value.numpy(force=True).tobytes()
            if dtype != torch.bfloat16
            else torch.equal(after[tensor].view(torch.int16), value.view(torch.int16))
        ), tensor
    assert len(list(target.glob("*.safetensors"))) > 1


def test_keys_of_the_imported_configuration_are_kept(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    random_reference(small_spec(ALL["llama 3"]), VOCAB).save_pretrained(source)
    config = {**read_config(source), "house_key": {"kept": [1, 2]}, "transformers_version": "4.40.0"}
    (source / "config.json").write_text(json.dumps(config))
    (source / "generation_config.json").write_text(json.dumps({"top_k": 7}))

    import_and_export(source, target)

    exported = read_config(target)
    assert {key: exported[key] for key in config} == config
    # For transformers 4, which does not know rope_parameters.
    assert {key: exported[key] for key in exported.keys() - config.keys()} == {
        "rope_theta": 10_000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 4.0,
            "original_max_position_embeddings": 8,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    }
    assert json.loads((target / "generation_config.json").read_text()) == {"top_k": 7}


@pytest.mark.parametrize("name", IN_TRANSFORMERS)
def test_transformers_loads_a_new_model_with_equal_logits(name, tmp_path):
    spec = small_spec(ALL[name])
    vocab = 257
    source = tmp_path / "source"
    random_reference(spec, vocab).save_pretrained(source)
    model = load_from(Weights(ModelFolder(str(source), FIELD)), spec, vocab, data=2, model=1)
    target = tmp_path / "target"

    about = ExportedModel(spec, vocab, "bytes", 256, "# Card\n")
    export_model(model, about, Destination(str(target), field="spec.export.huggingFace"), file_bytes=LARGE)

    loaded, info = AutoModelForCausalLM.from_pretrained(target, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokens = np.random.default_rng(0).integers(0, vocab, (2, 24))
    np.testing.assert_allclose(logits_of(model, tokens), reference_logits(loaded, tokens), atol=1e-4, rtol=1e-4)


def test_a_section_of_the_imported_configuration_is_kept(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    random_reference(small_spec(ALL["mpt, scale of the scores"]), VOCAB).save_pretrained(source)
    config = read_config(source)
    config["attn_config"] |= {"house_key": 1, "attn_pdrop": 0.1}
    (source / "config.json").write_text(json.dumps({**config, "learned_pos_emb": False}))

    import_and_export(source, target)

    assert read_config(target) == read_config(source)


def test_options_that_transformers_does_not_compute_are_not_exported(tmp_path):
    about = ExportedModel(small_spec(ALL["mpt, learned positions"]), VOCAB, "bytes", 64, "# Card\n")
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(UserError) as caught:
        export_model(None, about, Destination(str(tmp_path), field="FOLDER"), file_bytes=LARGE)

    assert str(caught.value) == (
        "spec.model.alibi is false: MptForCausalLM computes true only. The model cannot be exported; its checkpoints "
        "hold it."
    )
    assert (tmp_path / "config.json").exists(), "what was there is gone"


def test_dropout_of_an_mpt_is_no_part_of_its_export(tmp_path):
    """transformers 5 takes whole numbers only for attn_pdrop, and would refuse the folder."""
    spec = small_spec({**ALL["mpt"], "attnPdrop": 0.1, "residPdrop": 0.1})
    config = write_config(spec, VOCAB)

    assert config["attn_config"]["attn_pdrop"] == 0
    assert config["resid_pdrop"] == 0.1
    AutoConfig.for_model(**config)


def test_transformers_reads_the_bytes_tokenizer(tmp_path):
    random_reference(small_spec(GPT2), 257).save_pretrained(tmp_path / "source")
    import_and_export(tmp_path / "source", tmp_path / "target")

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")

    text = "Grüße, “world”\n\t 12 \x00\x7f 🙂"
    assert tokenizer(text)["input_ids"] == list(text.encode())
    assert tokenizer.decode(list(text.encode())) == text
    assert tokenizer.eos_token_id == 256
