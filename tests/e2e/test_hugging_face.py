"""A run that exports its model, and a run that begins with what it exported."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: small}
spec:
  model: {type: llama, hiddenDim: 32, intermediateDim: 48, numHeads: 4, numKvHeads: 2, numLayers: 2, seqLen: 64}
  data: {tokenizer: TOKENIZER, trainUrls: ["python-stdlib://json/*.py"]}
  trainer: {numTrainSteps: 4, trainBatchSize: 8}
  export: {huggingFace: hf, every: 2}
  compute: {hosts: 2}
"""


@pytest.fixture
def asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths that anything has asked the Hugging Face hub for, which is one on loopback that has nothing."""
    asked: list[str] = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield asked
        server.shutdown()


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of 300 entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(
        ["def decode(self): return self.decoder", "def encode(self): return self"] * 20, trainer
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))


def test_a_run_exports_and_another_begins_there_without_the_hub(lateen_run, tmp_path, asked_of_the_hub):
    """Levanter asks the hub for a model's configuration even where a run has random weights."""
    write_tokenizer(tmp_path / "tokenizer")
    text = JOB.replace("TOKENIZER", str(tmp_path / "tokenizer"))
    first = lateen_run(job=text)
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

    job = yaml.safe_load(text)
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
    assert asked_of_the_hub == []
