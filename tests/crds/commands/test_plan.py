"""`lateen plan`."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from crds.jobs import NANO, nano
from lateen_api.commands.plan import plan
from lateen_api.plan import Plan, make_plan
from lateen_api.plan.compiled import Compiled


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "nano.yaml"
    path.write_text(NANO)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments])


def test_plan_as_json_is_the_plan(job_file: Path):
    result = run(job_file, "--no-data", "-o", "json")
    assert result.exit_code == 0
    assert Plan.model_validate_json(result.stdout) == make_plan(nano())


def test_plan_as_yaml_is_the_plan(job_file: Path):
    assert Plan.model_validate(yaml.safe_load(run(job_file, "--no-data", "-o", "yaml").stdout)) == make_plan(nano())


def test_the_model_of_a_folder_is_printed_as_a_job_states_it(tmp_path: Path):
    (tmp_path / "model").mkdir()
    config = {"model_type": "mistral", "hidden_size": 64, "num_hidden_layers": 2, "sliding_window": None}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    body = yaml.safe_load(NANO)
    del body["spec"]["model"]
    body["spec"]["trainer"] = {"trainBatchSize": 32, "initializeFrom": str(tmp_path / "model")}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(body))

    model = yaml.safe_load(run(path, "-o", "model").stdout)["model"]

    assert (model["type"], model["hiddenDim"], model["numHeads"], model["vocabSize"]) == ("mistral", 64, 32, 32000)
    assert model["slidingWindow"] is None  # left out it would be 4,096
    body["spec"]["model"] = model
    path.write_text(yaml.safe_dump(body))
    assert yaml.safe_load(run(path, "-o", "model").stdout)["model"] == model


def test_table_says_what_is_trained_with_lora(job_file: Path):
    lora = "trainer.lora={rank: 4, alpha: 6, targets: [c_proj]}"
    lines = [" ".join(line.split()) for line in run(job_file, "--no-data", "--set", lora).stdout.splitlines()]
    for line in (
        "parameters 873.3 k",
        "trained 14.3 k (1.6 %)",
        "LoRA rank 4, alpha 6, dropout 0: attn.c_proj, mlp.c_proj",
        "adamw rate 0.0006, decay 0.1: 14.3 k parameters",
        "model.adapters.attn.c_proj.lora_a [4, 4, 32, 4]",
        "model.adapters.mlp.c_proj.lora_b [4, 4, 128]",
    ):
        assert line in lines


def test_table_has_the_figures_with_their_units(job_file: Path):
    lines = [" ".join(line.split()) for line in run(job_file, "--no-data").stdout.splitlines()]
    for line in (
        "nano",
        "hosts 1",
        "devices 2 (2 a host)",
        "mesh data 2 × model 1",
        "parameters 859.0 k",
        "training 6.5 MFLOP a token",
        "batch 32 sequences, 8.2 k tokens",
        "microbatch 2 sequences a device, 8 times a step",
        "lanes 16",
        "tokens 3.3 G",
        "learning rate cosine, peak 0.0006",
        "data 12,800,000 sequences",
        "evaluations none (no spec.data.validationUrls)",
    ):
        assert line in lines


def test_hosts_cores_and_fields_can_be_given(job_file: Path):
    result = run(
        job_file,
        "-o",
        "json",
        "--hosts",
        2,
        "--cores",
        4,
        "--set",
        "trainer.trainBatchSize=64",
        "--set",
        "compute.cpu=4",
    )
    planned = json.loads(result.stdout)
    assert (planned["hosts"], planned["devicesPerHost"], planned["tokensPerStep"]) == (2, 4, 16_384)


def test_vocabulary_is_read_from_a_local_tokenizer(job_file: Path, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0, "b": 511}}}))
    result = run(job_file, "-o", "json", "--set", f"data.tokenizer={tmp_path}")
    assert json.loads(result.stdout)["vocabSize"] == 512


def test_refusal_stands_on_stderr_with_exit_code_40(job_file: Path):
    result = run(job_file, "--set", "model.numHeads=5", "--set", "trainer.mp=f33")
    assert result.exit_code == 40
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "spec.model.hiddenDim: 128 is not a multiple of spec.model.numHeads, 5. Use 125 or 130.",
        "spec.trainer.mp: 'f33' is not valid: 'f33' is not a type (did you mean f32?). Write f32 or p=f32,c=bfloat16.",
    ]


def test_missing_file_is_refused_likewise(tmp_path: Path):
    result = run(tmp_path / "none.yaml")
    assert result.exit_code == 40
    assert result.stderr == (f"{tmp_path}/none.yaml: no such file: expected the YAML file of a job. Check the path.\n")


@pytest.mark.slow
def test_compiled_step_stands_beside_the_estimate(job_file: Path):
    """Half a minute: a process of its own compiles the real step, for CPU devices here."""
    fields = ("--set", "model.numLayers=1", "--set", "model.hiddenDim=64", "--set", "trainer.trainBatchSize=4")
    result = run(job_file, "--compile", "-o", "json", *fields)
    assert result.exit_code == 0, result.stderr
    read = json.loads(result.stdout)
    compiled = Compiled.model_validate(read.pop("compiled"))
    planned = Plan.model_validate(read)
    assert (compiled.device_kind, compiled.devices) == ("cpu", 2)
    # Parameters, two moments, batch of 4 × 257 tokens over two devices; steps and count of the optimizer.
    state = planned.memory.parameters + planned.memory.optimizer
    assert state <= compiled.memory.arguments <= state + 2 * 257 * 4 + 4096
    assert compiled.memory.total == sum(
        (compiled.memory.arguments, compiled.memory.outputs, compiled.memory.temporaries, compiled.memory.code)
    )
    assert {"all-gather", "all-to-all"} <= set(compiled.collectives)
    assert compiled.product_flops == pytest.approx(planned.flops_per_token * planned.tokens_per_step / 2, rel=0.2)


def test_what_the_compiler_lacks_is_said_in_one_line(job_file: Path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else object())
    result = run(job_file, "--compile")
    assert (result.exit_code, result.stdout) == (40, "")
    assert result.stderr == (
        "--compile: needs the trainer, and jax is not installed: expected lateen with its extra trainer. "
        "Install it: pip install 'lateen[trainer]'.\n"
    )


@pytest.mark.skipif(bool(importlib.util.find_spec("libtpu")), reason="its compiler is installed here")
def test_missing_compiler_of_an_accelerator_is_named(job_file: Path):
    result = run(job_file, "--compile", "--set", "compute={accelerator: tpu-v5e, topology: 2x4, chipsPerHost: 8}")
    assert (result.exit_code, result.stdout) == (40, "")
    assert "spec.compute.accelerator: compiling for tpu-v5e needs its compiler (the module libtpu)" in result.stderr
    assert "pip install 'lateen[trainer,tpu]'" in result.stderr
