"""Several processes read and write one model: each only its part."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from trainer.hugging_face.folders import random_reference
from trainer.hugging_face.gang import together
from trainer.models.small_specs import ALL, VOCAB, small_spec


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "source"
    random_reference(small_spec(ALL["llama"]), VOCAB, dtype=torch.bfloat16).save_pretrained(path, max_shard_size="15KB")
    return path


def bytes_of_tensors(folder: Path) -> int:
    """Of all files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            total += sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118  # no mapping
    return total


@pytest.mark.slow
def test_a_process_reads_only_the_bytes_of_its_shards(folder):
    """Buys that a start from a large model takes as long with many hosts as the bytes of one."""
    size = bytes_of_tensors(folder)

    orders = (["read", {"url": str(folder), "gap": 0}], ["read", {"url": str(folder), "smallest": 0}])
    (first, first_by_rows), (second, second_by_rows) = together(2, *orders)

    assert first["bytes"] == second["bytes"] == size // 2
    assert first["share"] == second["share"] == size  # half of it, and float32 for bfloat16
    # The vocabulary has 65 rows.
    assert first_by_rows["bytes"] + second_by_rows["bytes"] == size
    assert second_by_rows["bytes"] < first_by_rows["bytes"] < 1.02 * second_by_rows["bytes"]


@pytest.mark.slow
def test_two_processes_write_the_files_that_one_writes(folder, tmp_path):
    """Buys that the width of a run does not show in its export."""
    for count in (1, 2):
        target = str(tmp_path / f"by-{count}")
        together(count, ["copy", {"url": str(folder), "target": target, "file_bytes": 10_000, "smallest": 0}])

    one, two = ({path.name: path.read_bytes() for path in (tmp_path / f"by-{n}").iterdir()} for n in (1, 2))
    assert one == two
    assert len([name for name in one if name.endswith(".safetensors")]) > 3
    assert {name for name in one if not name.startswith("model-")} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
