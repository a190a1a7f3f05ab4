"""Adapters as peft reads them, and merged models as transformers reads them: the same logits as the trainer's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from haliax import NamedArray
from haliax.util import is_named_array
from lateen_api.plan.lora import adapter_parameters
from lateen_api.spec import ExportSpec, LoraSpec
from lateen_trainer.data.batch import Batch
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.adapter import WEIGHTS, ExportedAdapter, adapter_config
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.exports import Facts, write_model
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.lora import LoraModel, join_frozen, split_trained
from lateen_trainer.step.microbatch import whole_loss
from safetensors.numpy import load_file
from trainer.hugging_face.folders import load, logits_of, random_reference, reference_logits
from trainer.models.small_specs import GPT2, LLAMA, QWEN3, small_spec
from transformers import AutoModelForCausalLM

peft = pytest.importorskip("peft", reason="peft is the reference here, and not installed: pip install lateen[test]")

VOCAB = 257
CASES = {
    "gpt2, its fused projection": (GPT2, LoraSpec(rank=4, alpha=6)),
    "gpt2, one of two layers of a name": (GPT2, LoraSpec(rank=2, alpha=5, targets=["attn.c_proj", "c_fc"])),
    "llama": (LLAMA, LoraSpec(rank=4, alpha=8, dropout=0.3)),
    "qwen3, all layers": (QWEN3, LoraSpec(rank=2, alpha=7.5, targets=["all-linear"])),
}
TOKENS = np.random.default_rng(0).integers(0, VOCAB, (2, 24))


class Folders:
    """A model in transformers' format, and it with adapters, of which none is zero."""

    def __init__(self, tmp_path: Path, body: dict[str, Any], lora: LoraSpec):
        self.spec, self.lora, self.path = small_spec(body), lora, tmp_path
        random_reference(self.spec, VOCAB).save_pretrained(tmp_path / "base")
        base = load(tmp_path / "base", self.spec, VOCAB, data=2, model=2)
        model = LoraModel.init(base, lora, key=jax.random.key(0))
        self.model = replace(model, adapters=trained(model.adapters))
        self.about = AboutRun(
            job="small", model=self.spec, vocab_size=VOCAB, tokenizer="bytes", end_of_text=256, parameters=36_000,
            tokens_per_step=512, optimizer={"type": "adamw"}, seed=3, data=("a.txt",),
            started_from=str(tmp_path / "base"), lora=lora,
        )  # fmt: skip

    def export(self, model: LoraModel | None = None, **spec: Any) -> Path:
        target = self.path / "out"
        destination = Destination(str(target), field="spec.export.huggingFace")
        facts = Facts(10, {"Training": 2.5}, {"jax": "0.10"})
        write_model(model or self.model, self.about, facts, destination, ExportSpec.model_validate(spec))
        return target


def trained(adapters: dict[str, Any]) -> dict[str, Any]:
    """Other numbers in both matrices of each layer, divided over four devices as the step divides them."""
    rules = ShardingRules(make_mesh(2, 2, jax.devices()[:4]))
    rng = np.random.default_rng(1)

    def draw(leaf: NamedArray) -> NamedArray:
        values = rng.standard_normal(leaf.array.shape).astype(np.float32) * 0.2
        return NamedArray(jax.device_put(values, rules.sharding(leaf)), leaf.axes)

    return jax.tree.map(draw, adapters, is_leaf=is_named_array)


def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


@pytest.mark.parametrize(("body", "lora"), CASES.values(), ids=CASES)
def test_trainer_and_peft_and_the_merged_model_have_equal_logits_and_gradients(body, lora, tmp_path):
    folders = Folders(tmp_path, body, lora)
    ours = logits_of(folders.model, TOKENS)

    base = reference(tmp_path / "base")
    alone = reference_logits(base, TOKENS)
    target = folders.export()
    loaded = peft.PeftModel.from_pretrained(base, target, is_trainable=True).eval()

    tensors = load_file(target / WEIGHTS)
    assert {plain(name) for name in loaded.state_dict() if "lora_" in name} == tensors.keys()
    assert sum(map(np.size, tensors.values())) == sum(p.size for p in adapter_parameters(lora, folders.spec))
    assert np.abs(ours - alone).max() > 0.1, "the adapters change nothing"
    np.testing.assert_allclose(ours, reference_logits(loaded, TOKENS), atol=1e-4, rtol=1e-4)
    loaded(torch.from_numpy(TOKENS), labels=torch.from_numpy(TOKENS)).loss.backward()
    gradients = {plain(name): parameter.grad for name, parameter in loaded.named_parameters() if "lora_" in name}
    for name, gradient in gradients_of(folders).items():
        np.testing.assert_allclose(gradient, gradients[name], atol=1e-4 * np.abs(gradient).max(), rtol=1e-4)

    merged_folder = folders.export(lora="merged")
    np.testing.assert_allclose(reference_logits(reference(merged_folder), TOKENS), ours, atol=1e-4, rtol=1e-4)


def plain(name: str) -> str:
    """PEFT's name of a tensor in a file: without that of the adapter, of which there can be several."""
    return name.replace(".default", "")


def gradients_of(folders: Folders) -> dict[str, np.ndarray]:
    """Gradients of the adapters for the mean loss of the tokens, by the names of PEFT's tensors."""
    trained, frozen = split_trained(folders.model)

    def loss(trained: Any) -> jax.Array:
        tokens = jax.numpy.asarray(TOKENS)
        return whole_loss(join_frozen(trained, frozen), Batch(tokens), None, key=None) / (TOKENS.size - len(TOKENS))

    gradients = join_frozen(jax.jit(jax.grad(loss))(trained), frozen)
    return load_file(folders.export(gradients) / WEIGHTS)


@pytest.mark.parametrize(
    ("case", "modules"),
    [
        ("gpt2, its fused projection", ["c_attn"]),
        ("gpt2, one of two layers of a name", ["attn.c_proj", "c_fc"]),
        ("llama", ["q_proj", "v_proj"]),
        ("qwen3, all layers", ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]),
    ],
)
def test_the_configuration_is_one_that_peft_would_write(case, modules, tmp_path):
    body, lora = CASES[case]
    about = ExportedAdapter(lora, small_spec(body), "gs://bucket/base", "bytes", "# Card\n")
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter_config(about)))

    config = peft.LoraConfig.from_pretrained(tmp_path)

    assert config.peft_type == "LORA"
    assert config.task_type == "CAUSAL_LM"
    assert config.target_modules == set(modules)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (lora.rank, lora.alpha, lora.dropout)
    assert config.fan_in_fan_out == (body["type"] == "gpt2")
    assert config.base_model_name_or_path == "gs://bucket/base"


def test_peft_finds_the_model_by_itself(tmp_path):
    folders = Folders(tmp_path, *CASES["llama"])
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(folders.export(dtype="bfloat16")).eval()
    np.testing.assert_allclose(logits_of(folders.model, TOKENS), reference_logits(loaded, TOKENS), atol=0.1)


def test_a_revision_of_the_hub_is_named_as_peft_does(tmp_path):
    folders = Folders(tmp_path, *CASES["llama"])
    folders.about = replace(folders.about, started_from="hf://org/name@v1")
    target = folders.export()
    config = json.loads((target / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/name", "v1")
    card = (target / "README.md").read_text()
    assert "library_name: peft" in card
    assert "base_model: org/name" in card
    assert "| LoRA | rank 4, alpha 8, dropout 0.3, 1,344 parameters beside self_attn.q_proj, self_attn.v_proj |" in card


def test_a_folder_holds_adapters_or_a_model_and_not_both(tmp_path):
    folders = Folders(tmp_path, *CASES["llama"])
    folders.export()
    names = {path.name for path in folders.export(lora="merged").iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert not names & {"adapter_config.json", WEIGHTS}
    names = {path.name for path in folders.export().iterdir()}
    assert {"adapter_config.json", WEIGHTS} <= names
    assert not names & {"config.json", "model.safetensors"}
