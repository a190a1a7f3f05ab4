"""`lateen plan`."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from crds.jobs import NANO, nano
from lateen_api.commands.plan import plan
from lateen_api.plan import Plan, make_plan


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "nano.yaml"
    path.write_text(NANO)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments])


def test_plan_as_json_is_the_plan(job_file: Path):
    result = run(job_file, "-o", "json")
    assert result.exit_code == 0
    assert Plan.model_validate_json(result.stdout) == make_plan(nano())


def test_plan_as_yaml_is_the_plan(job_file: Path):
    assert Plan.model_validate(yaml.safe_load(run(job_file, "-o", "yaml").stdout)) == make_plan(nano())


def test_table_has_the_figures_with_their_units(job_file: Path):
    lines = [" ".join(line.split()) for line in run(job_file).stdout.splitlines()]
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
