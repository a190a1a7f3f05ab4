"""A run that exports its model, and a run that begins with what it exported."""

import subprocess
import sys

import yaml
from safetensors.numpy import load_file

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: small}
spec:
  model: {type: llama, hiddenDim: 32, intermediateDim: 48, numHeads: 4, numKvHeads: 2, numLayers: 2, seqLen: 64}
  data: {tokenizer: bytes, trainUrls: ["python-stdlib://json/*.py"]}
  trainer: {numTrainSteps: 4, trainBatchSize: 8}
  export: {huggingFace: hf, every: 2}
  compute: {hosts: 2}
"""


def test_a_run_exports_and_another_begins_there(lateen_run, tmp_path):
    first = lateen_run(job=JOB)
    assert first.finish() == 0, first.output
    exported = first.folder / "hf"
    assert (exported / "step-00000002" / "config.json").exists()
    card = (exported / "README.md").read_text()
    assert "| Training | 4 steps of 512 tokens, 2,048 tokens in all |" in card
    # The last checkpoint is exported to the same bytes, and transformers computes the same with it.
    done = subprocess.run(
        [sys.executable, "-m", "lateen_api.cli", "export", str(first.folder / "checkpoints"), "again", "--verify"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Verified: the parameters are those of the checkpoint" in done.stdout
    weights = (exported / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights

    job = yaml.safe_load(JOB)
    del job["spec"]["model"]
    job["metadata"]["name"] = "second"
    job["spec"]["trainer"] |= {"numTrainSteps": 1, "initializeFrom": str(exported)}
    # A rate at which no float32 changes: what is exported is what was imported.
    job["spec"] |= {"optimizer": {"learningRate": 1e-30, "weightDecay": 0.0}, "compute": {"hosts": 1}}
    second = lateen_run(job=yaml.safe_dump(job), name="second")
    assert second.finish() == 0, second.output

    before, after = (load_file(run.folder / "hf" / "model.safetensors") for run in (first, second))
    assert before.keys() == after.keys()
    assert all((after[name] == value).all() for name, value in before.items())
    configs = [(run.folder / "hf" / "config.json").read_text() for run in (first, second)]
    assert configs[0] == configs[1]
