"""A disk that fills up while a checkpoint is saved: a tmpfs of 8 MiB."""

import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.save import NotSavedError, Writing

MIB = 1 << 18  # elements of float32


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def full(mib: int) -> dict:
    return {"x": jnp.arange(mib * MIB, dtype=jnp.float32)}


def test_what_cannot_fit_is_refused_with_both_numbers(small_disk):
    checkpoints = Checkpoints(str(small_disk))
    checkpoints.save(1, full(mib=5), {"step": 1}, block=True)
    checkpoints.save(2, full(mib=5), {"step": 2})
    with pytest.raises(NotSavedError) as raised:
        checkpoints.wait()
    message = str(raised.value)
    assert message.startswith(f"{small_disk}/step-00000002: no space left: process 0 needs 5.2 MB, available: 3.")
    assert message.endswith("Free some, or point spec.checkpoint.path elsewhere.")


@pytest.mark.parametrize("room_is_known", [True, False])
def test_the_older_one_stays_and_training_goes_on(small_disk, monkeypatch, room_is_known):
    """Where the room is not known beforehand, the disk fills to the last byte."""
    if not room_is_known:
        monkeypatch.setattr(Writing, "_check_room", lambda self: None)
    checkpoints = Checkpoints(str(small_disk))
    checkpoints.save(1, full(mib=3), {"step": 1}, block=True)
    checkpoints.save(2, full(mib=7), {"step": 2})
    with pytest.raises(NotSavedError, match=r"step-00000002: no space left: process 0 needs 7\.3 MB"):
        checkpoints.wait()
    assert [path.name for path in small_disk.iterdir() if path.is_dir()] == ["step-00000001"]
    restored, metadata = checkpoints.restore(full(mib=3))
    assert (metadata, np.array_equal(restored["x"], full(mib=3)["x"])) == ({"step": 1}, True)
    checkpoints.save(3, full(mib=3), {"step": 3}, block=True)
    assert checkpoints.restore(full(mib=3))[1] == {"step": 3}


def test_too_few_descriptors_are_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("RESOURCE_EXHAUSTED: Too many open files [os_error_code='24']")

    monkeypatch.setattr("lateen_trainer.checkpoint.zarr.write_file", refuse)
    with pytest.raises(
        NotSavedError, match="step-00000001: process 0 could not write its part: the process may not open"
    ):
        Checkpoints(str(tmp_path)).save(1, full(mib=1), {"step": 1}, block=True)
