"""Models on a web server and on the hub (a fake one on loopback), read by ranges."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lateen_api.errors import JobError
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.hugging_face import pin
from lateen_trainer.hugging_face.weights import Weights
from trainer.hugging_face.folders import FIELD, load, load_from, random_reference
from trainer.hugging_face.servers import SHA, serving
from trainer.models.small_specs import ALL, VOCAB, small_spec

SPEC = small_spec(ALL["llama"])
CHECK = Path(__file__).with_name("read_from_hub.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    random_reference(SPEC, VOCAB).save_pretrained(path)
    return path


def same(one, other) -> bool:
    """Equal bits of two models' embeddings and a layer's weights."""
    pairs = [(m.embed_tokens.array, m.blocks.blocks.mlp.down_proj.weight.array) for m in (one, other)]
    return all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))


def test_a_web_server_gives_the_same_model_and_each_byte_once(folder):
    with serving(folder) as server:
        url = f"{server.url}/files"
        assert ModelFolder(url, FIELD).read_json("config.json") == ModelFolder(str(folder), FIELD).read_json(
            "config.json"
        )
        assert ModelFolder(url, FIELD).read_json("generation.json") is None
        weights = Weights(ModelFolder(url, FIELD))
        model = load_from(weights, SPEC, VOCAB)

    assert same(model, load(folder, SPEC, VOCAB))
    size = (folder / "model.safetensors").stat().st_size
    assert server.bytes_sent["model.safetensors"] == weights.traffic.bytes_read == size


def test_a_server_that_is_gone_is_named():
    with pytest.raises(
        JobError, match=r"^spec.trainer.initializeFrom: is 'http://127.0.0.1:1/x': config.json cannot be"
    ):
        ModelFolder("http://127.0.0.1:1/x", FIELD).read_json("config.json")


def hub(arguments: list[str], **environ: str) -> str:
    """Output of `read_from_hub`, in a process of its own: the hub's library reads its variables when it is imported."""
    done = subprocess.run(
        [sys.executable, str(CHECK), *arguments],
        env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_hub_is_asked_at_its_endpoint_for_the_revision_and_for_no_more_bytes_than_the_file_has(folder, tmp_path):
    with serving(folder) as server:
        told = hub(["hf://org/name@v1", str(folder)], HF_ENDPOINT=server.url, HF_HOME=str(tmp_path))

    assert told == "the same\n"
    assert server.revisions == {"v1"}
    assert server.bytes_sent["model.safetensors"] == (folder / "model.safetensors").stat().st_size


def test_offline_the_cache_of_the_hub_is_read(folder, tmp_path):
    cached = tmp_path / "hub" / "models--org--name"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "snapshots" / "abc").symlink_to(folder)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")

    assert hub(["hf://org/name", str(folder)], HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)) == "the same\n"
    assert hub(["hf://org/other", str(folder)], HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)).startswith(
        "spec.trainer.initializeFrom: is 'hf://org/other': "
    )


def resolved(url: str, **environ: str) -> str:
    """What `pin.resolved` makes of a URL, in a process of its own."""
    program = "import sys; from lateen_trainer.hugging_face.pin import resolved; print(resolved(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, url],
        env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout or done.stderr.splitlines()[-1]


def test_a_branch_of_the_hub_becomes_the_commit_that_it_is_at(folder, tmp_path):
    with serving(folder) as server:
        told = resolved("hf://org/name", HF_ENDPOINT=server.url, HF_HOME=str(tmp_path))

    assert told == f"hf://org/name@{SHA}\n"


def test_a_commit_and_a_folder_are_what_they_are(folder):
    assert pin.resolved(f"hf://org/name@{SHA}") == f"hf://org/name@{SHA}"
    assert pin.resolved(str(folder)) == str(folder)


def test_later_attempts_begin_with_what_the_first_one_found(tmp_path):
    first, second = (Checkpoints(str(tmp_path / "run"), job="small") for _ in range(2))

    assert first.pin_initial("hf://org/name", lambda url: f"{url}@{SHA}") == f"hf://org/name@{SHA}"
    assert second.pin_initial("hf://org/name", pytest.fail) == f"hf://org/name@{SHA}"
    assert second.pin_initial("hf://org/other", lambda url: f"{url}@v2") == "hf://org/other@v2"
