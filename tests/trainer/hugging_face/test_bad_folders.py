"""Folders that do not hold the job's model, or hold it in another form: what becomes of each, and the exact message."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.weights import Weights
from safetensors.torch import load_file, save_file
from trainer.hugging_face.folders import FIELD, load, random_reference
from trainer.models.small_specs import ALL, VOCAB, small_spec

SPEC = small_spec(ALL["llama, tied"])
GPT2 = small_spec(ALL["gpt2"])
NORM = "model.norm.weight"
EMBED = "model.embed_tokens.weight"
MLP = "model.layers.{}.mlp"
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path) -> Path:
    random_reference(SPEC, VOCAB).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    """Changes the tensors of a folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: value.clone() for name, value in tensors.items()}, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    """The message for a folder, without its name."""
    with pytest.raises(UserError) as caught:
        load(folder, SPEC, VOCAB)
    return str(caught.value).replace(f"{FIELD} is {str(folder)!r}", "FOLDER")


def of_another_model(*problems: str) -> str:
    """The message for tensors that are not the model's."""
    return (
        "FOLDER, which does not hold the model that spec.model and config.json describe:\n"
        + "\n".join(f"  {problem}" for problem in problems)
        + "\nName the folder that belongs to this model, or correct spec.model."
    )


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (lambda t: t.pop(NORM), [f"tensor {NORM} is missing: expected shape [32]"]),
        (
            lambda t: t.update({NORM: torch.ones(31)}),
            [f"tensor {NORM} (model.safetensors) has shape [31]: expected [32]"],
        ),
        (
            lambda t: t.update({"model.layers.3.mlp.up_proj.weight": torch.ones(2, 2)}),
            [
                "tensor model.layers.3.mlp.up_proj.weight is none of this model's: expected no weights that it does "
                "not use"
            ],
        ),
        (
            lambda t: t.update({NORM: torch.ones(32).to(torch.float8_e4m3fn)}),
            [
                f"tensor {NORM} (model.safetensors) is of type F8_E4M3: expected F64, F32, F16, BF16. A quantised "
                "model has to be exported in bfloat16 first"
            ],
        ),
        (
            lambda t: t.update({NORM: torch.ones(32, dtype=torch.int32)}),
            [
                f"tensor {NORM} (model.safetensors) is of type I32: expected F64, F32, F16, BF16. A quantised model "
                "has to be exported in bfloat16 first"
            ],
        ),
        (
            lambda t: [t.pop(f"{MLP.format(i)}.{name}.weight") for i in range(3) for name in ("up_proj", "gate_proj")],
            [
                *(f"tensor {MLP.format(i)}.gate_proj.weight is missing: expected shape [48, 32]" for i in range(3)),
                *(f"tensor {MLP.format(i)}.up_proj.weight is missing: expected shape [48, 32]" for i in range(2)),
                "and 1 more",
            ],
        ),
    ],
    ids=["missing", "misshapen", "surplus", "8 bits", "integers", "several"],
)  # fmt: skip
def test_tensors_that_are_not_the_models_are_refused_by_name(folder, change, problems):
    rewrite(folder, change)

    assert refusal(folder) == of_another_model(*problems)


def test_a_tied_head_that_is_there_too_must_be_equal(folder):
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors[EMBED]}))
    assert load(folder, SPEC, VOCAB).untied_head is None

    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors[EMBED] + 1}))
    assert refusal(folder) == (
        f"FOLDER: tensors {EMBED} and lm_head.weight differ, and config.json ties them (tie_word_embeddings): expected "
        "equal elements. Set it to false there, and spec.model.tieWordEmbeddings, if the output layer is one of its "
        "own."
    )


def test_a_tied_head_alone_is_the_embedding(folder):
    before = np.asarray(load(folder, SPEC, VOCAB).embed_tokens.array)
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors.pop(EMBED)}))

    assert np.array_equal(load(folder, SPEC, VOCAB).embed_tokens.array, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_plain_types_become_float32(folder, dtype):
    values = torch.linspace(-3, 3, 32, dtype=torch.float64).to(dtype)
    rewrite(folder, lambda tensors: tensors.update({NORM: values}))

    loaded = load(folder, SPEC, VOCAB, data=2).norm.weight.array

    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, values.to(torch.float32).numpy())


def test_names_without_their_beginning_and_masks_are_those_of_the_hubs_gpt2(tmp_path):
    random_reference(GPT2, VOCAB).save_pretrained(tmp_path)
    expected = load(tmp_path, GPT2, VOCAB)

    def bare(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)

    rewrite(tmp_path, bare)

    loaded = load(tmp_path, GPT2, VOCAB)
    assert np.array_equal(loaded.wte.array, expected.wte.array)
    assert np.array_equal(
        loaded.blocks.blocks.attn.c_attn.weight.array, expected.blocks.blocks.attn.c_attn.weight.array
    )


def damage(at: int, content: bytes) -> Callable[[bytes], bytes]:
    """Writes other bytes over a file."""
    return lambda data: data[:at] + content + data[at + len(content) :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:5], "has 5 bytes, too few for a header"),
        (
            damage(0, struct.pack("<Q", 1 << 40)),
            "is no safetensors file: it begins with a header's length of 1,099,511,627,776 bytes",
        ),
        (damage(8, b"<html>"), "is no safetensors file: its header is not JSON"),
        (lambda data: data[:-4], None),
    ],
    ids=["empty", "length", "not JSON", "cut off"],
)
def test_a_damaged_file_is_named(folder, change, message):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(change(whole))

    if message is None:
        message = f"is cut off: it has {len(whole) - 4:,} bytes, and its header describes {len(whole):,}"
    assert refusal(folder) == f"FOLDER: model.safetensors {message}. Put the right file back."


CONVERT = (
    "Expected model.safetensors, or model.safetensors.index.json and its files. With transformers: "
    "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other)."
)


def test_a_folder_without_weights_says_what_is_expected(folder):
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == f"FOLDER: model.safetensors is missing. {CONVERT}"

    (folder / "pytorch_model.bin").write_bytes(b"")
    assert refusal(folder) == (
        "FOLDER: model.safetensors is missing, and pytorch_model.bin cannot be read: it is a pickled program. "
        + CONVERT
    )


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, f"has no weight_map: expected the file of each tensor. {CONVERT}"),
        (
            {"weight_map": {NORM: "../model.safetensors"}},
            "names the file '../model.safetensors': expected files in the same folder.",
        ),
        (
            {"weight_map": {"other": "model.safetensors"}},
            "says that tensor other is in model.safetensors, which does not have it: expected files of one model. Put "
            "the right file back.",
        ),
    ],
    ids=["no map", "elsewhere", "not in the file"],
)
def test_a_damaged_index_is_named(folder, index, message):
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    assert refusal(folder) == f"FOLDER: model.safetensors.index.json {message}"


def test_a_file_that_the_index_names_and_that_is_missing_is_named(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {NORM: "model-1.safetensors"}}))

    assert refusal(folder) == (
        f"FOLDER: model-1.safetensors is missing, which model.safetensors.index.json names. {CONVERT}"
    )


def test_files_of_an_index_are_one_model(folder, tmp_path):
    other = tmp_path / "files"
    random_reference(SPEC, VOCAB).save_pretrained(other, max_shard_size="20KB")
    assert len(list(other.glob("*.safetensors"))) > 2

    one, several = (load(path, SPEC, VOCAB, data=2, model=2) for path in (folder, other))

    assert np.array_equal(one.embed_tokens.array, several.embed_tokens.array)
    assert len(Weights(ModelFolder(str(other), FIELD)).tensors) == len(load_file(folder / "model.safetensors"))
