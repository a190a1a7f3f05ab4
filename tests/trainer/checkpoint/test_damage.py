"""No damage to a checkpoint's files goes unnoticed: neither a flipped bit, nor a lost file, nor a shortened one."""

import random
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from lateen_trainer.checkpoint import grid
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.folder import CheckpointFolder, State
from lateen_trainer.checkpoint.verify import verify
from lateen_trainer.errors import CorruptCheckpointError
from trainer.checkpoint.states import mesh, state


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """A checkpoint of many small files and chunks, its state and what restores it."""
    monkeypatch.setattr("lateen_trainer.checkpoint.state.chunk_shape", lambda *a: grid.chunk_shape(*a, limit=256))
    what = state(mesh(4, 2), seed=1)
    rows = np.random.default_rng(2).standard_normal((256, 64), dtype=np.float32)
    what["rows"] = jax.device_put(rows, NamedSharding(mesh(8), PartitionSpec("data")))
    Checkpoints(str(tmp_path / "sealed")).save(1, what, {"step": 1, "position": [1, 2, 3]}, block=True)
    return tmp_path / "sealed", jax.tree.map(jnp.zeros_like, what)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "step-00000001").rglob("*") if path.is_file())


def restoring_fails(folder: Path, template) -> bool:
    """Whether the damage is found, by restoring a copy."""
    copy = folder.with_name("damaged")
    shutil.copytree(folder, copy)
    try:
        Checkpoints(str(copy)).restore(template)
    except CorruptCheckpointError:
        return True
    finally:
        shutil.rmtree(copy)
    return False


@pytest.mark.parametrize("flips", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_flipped_bits_are_all_found(sealed, flips):
    """Three quarters fall on any bit of any file alike, a quarter on the JSON files, which are small. The 200 buy
    that data, indices of shards, descriptions and manifest are each hit often."""
    folder, template = sealed
    chance = random.Random(flips)
    files = files_of(folder)
    small = [path for path in files if path.name.endswith(".json")]
    missed = []
    for number in range(flips):
        among = small if number % 4 == 0 else files
        path = chance.choices(among, [file.stat().st_size for file in among])[0]
        intact = path.read_bytes()
        bit = chance.randrange(len(intact) * 8)
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not restoring_fails(folder, template):
            missed.append((path.name, bit))
        path.write_bytes(intact)
    assert missed == []


def test_every_lost_file_is_found(sealed):
    folder, template = sealed
    for path in files_of(folder):
        intact = path.read_bytes()
        path.unlink()
        assert restoring_fails(folder, template), path
        path.write_bytes(intact)


def test_every_shortened_file_is_found(sealed):
    folder, template = sealed
    for path in files_of(folder):
        intact = path.read_bytes()
        for length in (0, len(intact) // 2, len(intact) - 1):
            path.write_bytes(intact[:length])
            assert restoring_fails(folder, template), (path, length)
        path.write_bytes(intact)


def test_a_file_of_another_checkpoint_is_found(sealed, tmp_path):
    """A good file in the wrong place, as a backup or a mistaken copy leaves it."""
    folder, template = sealed
    other = jax.tree.map(lambda x: x + 1, template)
    Checkpoints(str(tmp_path / "other")).save(1, other, {}, block=True)
    data = "arrays/model.bias/c/0"
    shutil.copy(tmp_path / "other" / "step-00000001" / data, folder / "step-00000001" / data)
    assert restoring_fails(folder, template)


def test_undamaged_it_is_restored(sealed):
    folder, template = sealed
    assert not restoring_fails(folder, template)


def test_verify_finds_the_same_without_a_model(sealed):
    folder, _ = sealed
    found = CheckpointFolder(str(folder)).look(1)
    assert found.state is State.COMPLETE and found.manifest is not None
    assert verify(CheckpointFolder(str(folder)), found.manifest) is None
    path = next((folder / "step-00000001" / "arrays" / "rows").rglob("c/0/*"))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    damage = verify(CheckpointFolder(str(folder)), found.manifest)
    assert damage is not None and damage.startswith("chunk 0 of rows cannot be read")


def test_the_list_of_skipped_batches_is_kept_and_its_damage_is_named(tmp_path):
    folder = CheckpointFolder(str(tmp_path))
    assert folder.skipped() == ({}, {})
    folder.note_skipped({3: "its loss is nan", 7: "its loss is inf"}, {"seed": 0})
    assert folder.skipped() == ({3: "its loss is nan", 7: "its loss is inf"}, {"seed": 0})
    path = tmp_path / "skipped-batches.json"
    path.write_bytes(path.read_bytes().replace(b"7", b"6"))
    with pytest.raises(CorruptCheckpointError, match=r"skipped-batches\.json: .* does not have the digest it states"):
        folder.skipped()
