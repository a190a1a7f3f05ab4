"""Saving and restoring by one process with eight devices."""

import json
import logging
import shutil
import threading

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec.checkpoint import KeepRule
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.save import NotSavedError
from lateen_trainer.errors import CorruptCheckpointError, LostPeerError, UserError
from trainer.checkpoint.states import EMBED, MLP, mesh, same, state, template

SHAPES = [(8, 1), (4, 2), (2, 4), (1, 8), (2, 1), (1, 1)]


def saved(folder, *steps, **options):
    """Checkpoints of these steps; the state of each has its step as seed."""
    checkpoints = Checkpoints(str(folder), **options)
    for step in steps:
        checkpoints.save(step, state(mesh(4, 2), seed=step), {"step": step}, block=True)
    return checkpoints


def folders(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


KEEP_ALL = (KeepRule(every=1),)


@pytest.mark.parametrize("written", SHAPES)
def test_state_comes_back_exactly_on_any_mesh(tmp_path, written):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(3, state(mesh(*written), seed=3), {"step": 3})
    for wanted in SHAPES:
        restored, _ = checkpoints.restore(template(mesh(*wanted)))
        assert same(restored, state(mesh(*wanted), seed=3)), f"{written} to {wanted}"


def test_template_may_be_the_state_itself(tmp_path):
    checkpoints = saved(tmp_path, 7)
    restored, _ = checkpoints.restore(state(mesh(8), seed=0))
    assert same(restored, state(mesh(8), seed=7))


def test_metadata_comes_back(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    metadata = {"step": 3, "position": {"block": 2**53, "ids": ["a", None]}, "loss": 0.1}
    checkpoints.save(3, {"x": jnp.ones(2)}, metadata)
    assert checkpoints.restore({"x": jnp.zeros(2)})[1] == metadata


def test_special_values_keep_their_bits(tmp_path):
    bits = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1, 0x7F800000], np.uint32)
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"x": jnp.asarray(bits.view(np.float32))}, {})
    restored, _ = checkpoints.restore({"x": jnp.zeros(5)})
    assert np.asarray(restored["x"]).view(np.uint32).tolist() == bits.tolist()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "float16", "float8_e4m3fn", "complex64"])
def test_dtypes_come_back(tmp_path, dtype):
    checkpoints = Checkpoints(str(tmp_path))
    x = jnp.asarray(np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype))
    checkpoints.save(1, {"x": x}, {})
    restored, _ = checkpoints.restore({"x": jnp.zeros_like(x)})
    assert (restored["x"].dtype, np.asarray(restored["x"]).tobytes()) == (x.dtype, np.asarray(x).tobytes())


def test_empty_arrays_come_back(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"x": jnp.zeros((0, 4))}, {})
    assert checkpoints.restore({"x": jnp.ones((0, 4))})[0]["x"].shape == (0, 4)


def test_restored_state_trains_like_the_one_that_was_saved(tmp_path):
    """The restored arrays take over the reader's memory; a step that is given them must not be confused by that."""
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
    checkpoints = saved(tmp_path, 5)
    restored, _ = checkpoints.restore(template(mesh(8)))
    original = state(mesh(8), seed=5)
    for _ in range(3):
        restored, original = step(restored), step(original)
    assert same(restored, original)


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    checkpoints = Checkpoints(str(tmp_path))
    x = step(jnp.arange(2_000_000, dtype=jnp.float32))
    checkpoints.save(1, {"x": x}, {})
    for _ in range(3):
        x = step(x)
    restored, _ = checkpoints.restore({"x": x})
    assert np.array_equal(restored["x"], np.arange(2_000_000, dtype=np.float32) + 1)


def test_nothing_to_restore_in_a_new_folder(tmp_path):
    assert Checkpoints(str(tmp_path / "new")).restore(template(mesh(8))) is None


def test_newest_is_restored(tmp_path):
    checkpoints = saved(tmp_path, 9, 10, 100, keep=KEEP_ALL)
    assert checkpoints.restore(template(mesh(8)))[1] == {"step": 100}


def test_a_step_can_be_asked_for(tmp_path):
    checkpoints = saved(tmp_path, 9, 10, keep=KEEP_ALL)
    restored, metadata = checkpoints.restore(template(mesh(8)), step=9)
    assert metadata == {"step": 9}
    assert same(restored, state(mesh(8), seed=9))


def test_a_step_that_is_not_there_is_a_users_error(tmp_path):
    checkpoints = saved(tmp_path, 9, 10, keep=KEEP_ALL)
    with pytest.raises(UserError, match=r"no checkpoint of step 11; there are: 9, 10\."):
        checkpoints.restore(template(mesh(8)), step=11)


def test_a_step_that_was_never_committed_is_a_users_error(tmp_path):
    checkpoints = saved(tmp_path, 9)
    (tmp_path / "step-00000010").mkdir()
    (tmp_path / "last-commit.json").unlink()
    with pytest.raises(UserError, match=r"the checkpoint of step 10 was never committed"):
        checkpoints.restore(template(mesh(8)), step=10)


def test_what_goes_wrong_after_the_commit_does_not_undo_it(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, 5)

    def fails(step):
        raise ValueError("UNAVAILABLE: try later")

    monkeypatch.setattr(checkpoints.folder, "note_commit", fails)
    checkpoints.save(6, state(mesh(8), seed=6), {"step": 6})
    with pytest.raises(NotSavedError, match=r"step-00000006 is saved, but not noted as such: UNAVAILABLE"):
        checkpoints.wait()
    assert checkpoints.restore(template(mesh(8)))[1] == {"step": 6}


def test_old_ones_go_when_a_newer_one_is_committed(tmp_path):
    saved(tmp_path, 5, 10, 15, 20, 25, keep=[KeepRule(every=10)])
    assert folders(tmp_path) == ["step-00000010", "step-00000020", "step-00000025"]


def test_a_failed_save_takes_nothing_away(tmp_path):
    checkpoints = saved(tmp_path, 5)
    (tmp_path / "step-00000006").write_text("a file in the folder's place")
    checkpoints.save(6, state(mesh(8), seed=6), {})
    with pytest.raises(NotSavedError, match=r"step-00000006: process 0 could not write its part"):
        checkpoints.wait()
    (tmp_path / "step-00000006").unlink()
    assert checkpoints.restore(template(mesh(8)))[1] == {"step": 5}


def test_a_failure_is_reported_once_and_saving_goes_on(tmp_path):
    checkpoints = saved(tmp_path, 5)
    (tmp_path / "step-00000006").write_text("a file in the folder's place")
    checkpoints.save(6, state(mesh(8), seed=6), {})
    with pytest.raises(NotSavedError, match="step-00000006"):
        checkpoints.save(7, state(mesh(8), seed=7), {"step": 7})
    checkpoints.wait()
    assert checkpoints.last_committed == 7


def test_saving_does_not_hold_the_caller_up(tmp_path, monkeypatch):
    gate = threading.Event()
    checkpoints = Checkpoints(str(tmp_path))
    write = checkpoints.folder.write
    monkeypatch.setattr(checkpoints.folder, "write", lambda *a: (gate.wait(), write(*a)))
    checkpoints.save(1, state(mesh(8)), {"step": 1})
    assert (checkpoints.saving, checkpoints.wait(timeout=0.1), checkpoints.last_committed) == (True, False, None)
    gate.set()
    assert (checkpoints.wait(), checkpoints.saving, checkpoints.last_committed) == (True, False, 1)


def test_where_the_last_checkpoint_is(tmp_path):
    assert saved(tmp_path, 12).last_committed_url == f"{tmp_path}/step-00000012"


def test_metadata_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError):
        Checkpoints(str(tmp_path)).save(1, state(mesh(8)), {"step": jnp.int32(1)})
    assert folders(tmp_path) == []


def test_the_same_step_again_replaces_it(tmp_path):
    checkpoints = saved(tmp_path, 5)
    checkpoints.save(5, state(mesh(8), seed=77), {"again": True}, block=True)
    restored, metadata = checkpoints.restore(template(mesh(8)))
    assert (metadata, same(restored, state(mesh(8), seed=77))) == ({"again": True}, True)
    assert folders(tmp_path) == ["step-00000005", "step-00000005.replaced"]


def test_rewinding_sets_later_ones_aside(tmp_path):
    checkpoints = saved(tmp_path, 5, 6, 7, keep=KEEP_ALL)
    checkpoints.rewind(5)
    assert checkpoints.restore(template(mesh(8)))[1] == {"step": 5}
    assert folders(tmp_path) == ["step-00000005", "step-00000006.abandoned", "step-00000007.abandoned"]


def test_a_torn_one_is_named_and_set_aside_and_the_one_before_it_taken(tmp_path, caplog):
    checkpoints = saved(tmp_path, 5, 6, keep=KEEP_ALL)
    (tmp_path / "step-00000006" / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.restore(template(mesh(8)))[1] == {"step": 5}
    assert folders(tmp_path) == ["step-00000005", "step-00000006.incomplete"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/step-00000006 is incomplete: it has no manifest, so it was not committed; "
        "set aside as step-00000006.incomplete, the one before it is tried"
    ]


def test_a_second_torn_one_of_the_same_step_gets_another_name(tmp_path):
    for _ in range(2):
        checkpoints = saved(tmp_path, 5, 6, keep=KEEP_ALL)
        (tmp_path / "step-00000006" / "manifest.json").unlink()
        shutil.rmtree(tmp_path / "step-00000005.replaced", ignore_errors=True)
        checkpoints.restore(template(mesh(8)))
    assert folders(tmp_path)[-2:] == ["step-00000006.incomplete", "step-00000006.incomplete-2"]


def test_a_corrupt_one_is_named_and_set_aside_and_the_one_before_it_taken(tmp_path, caplog):
    checkpoints = saved(tmp_path, 5, 6, keep=KEEP_ALL)
    flip(tmp_path / "step-00000006" / "arrays" / "model.block.weight" / "c" / "0" / "0" / "0", bit=12345)
    with caplog.at_level(logging.WARNING):
        restored, metadata = checkpoints.restore(template(mesh(8)))
    assert (metadata, same(restored, state(mesh(8), seed=5))) == ({"step": 5}, True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/step-00000006 is corrupt: chunk 0 of model.block.weight does not have the digest that the "
        "manifest states; set aside as step-00000006.corrupt, the one before it is tried"
    ]


def test_when_all_are_corrupt_all_are_named(tmp_path):
    checkpoints = saved(tmp_path, 5, 6, keep=KEEP_ALL)
    for step in (5, 6):
        flip(tmp_path / f"step-{step:08d}" / "manifest.json", bit=800)
    with pytest.raises(CorruptCheckpointError) as raised:
        checkpoints.restore(template(mesh(8)))
    assert str(raised.value) == (
        f"spec.checkpoint.path is '{tmp_path}': no checkpoint can be restored: "
        f"{tmp_path}/step-00000006 is corrupt: manifest.json does not have the digest it states; "
        f"{tmp_path}/step-00000005 is corrupt: manifest.json does not have the digest it states. "
        "Put the files back from a backup, or start over: `lateen run --fresh`, or on Kubernetes delete the job and "
        "apply it with an empty folder."
    )


def test_a_corrupt_run_does_not_begin_anew_at_the_next_start(tmp_path):
    checkpoints = saved(tmp_path, 5)
    flip(tmp_path / "step-00000005" / "manifest.json", bit=800)
    for _ in range(2):
        with pytest.raises(CorruptCheckpointError):
            checkpoints.restore(template(mesh(8)))


def test_a_run_whose_only_checkpoint_is_gone_does_not_begin_anew(tmp_path):
    checkpoints = saved(tmp_path, 5)
    shutil.rmtree(tmp_path / "step-00000005")
    with pytest.raises(CorruptCheckpointError, match=r"step 5 was committed, and it or its manifest is gone"):
        checkpoints.restore(template(mesh(8)))


def test_a_run_whose_first_save_was_cut_off_begins_anew(tmp_path):
    saved(tmp_path, 5)
    (tmp_path / "step-00000005" / "manifest.json").unlink()
    (tmp_path / "last-commit.json").unlink()
    assert Checkpoints(str(tmp_path)).restore(template(mesh(8))) is None


def test_a_run_that_knows_of_a_checkpoint_does_not_begin_anew_in_an_empty_folder(tmp_path):
    committed = saved(tmp_path / "own", 5)
    shutil.rmtree(tmp_path / "own")
    for checkpoints in (committed, Checkpoints(str(tmp_path / "own"), known_step=5)):
        with pytest.raises(CorruptCheckpointError, match=r"own': there is no checkpoint, but .* has one of step 5:"):
            checkpoints.restore(template(mesh(8)))


def test_a_reader_beside_the_job_leaves_a_save_alone(tmp_path):
    saved(tmp_path, 5, 6, keep=KEEP_ALL)
    (tmp_path / "step-00000006" / "manifest.json").unlink()
    reader = Checkpoints(str(tmp_path), read_only=True)
    assert reader.restore(template(mesh(8)))[1] == {"step": 5}
    assert folders(tmp_path) == ["step-00000005", "step-00000006"]


def test_a_half_deleted_one_is_passed_by_and_deleted_at_the_next_save(tmp_path):
    checkpoints = saved(tmp_path, 5, 6, keep=KEEP_ALL)
    (tmp_path / "step-00000006" / "discarded.json").write_text("not needed")
    (tmp_path / "step-00000006" / "manifest.json").unlink()
    again = Checkpoints(str(tmp_path))
    assert again.restore(template(mesh(8)))[1] == {"step": 5}
    again.save(7, state(mesh(8)), {}, block=True)
    assert folders(tmp_path) == ["step-00000007"]
    assert checkpoints.last_committed == 6


def test_another_model_is_a_users_error_that_names_the_parameters(tmp_path):
    saved(tmp_path, 5)
    other = template(mesh(8))
    other["model"]["bias"] = jax.ShapeDtypeStruct((32,), jnp.float32)
    other["model"]["scale"] = jax.ShapeDtypeStruct((2,), jnp.bfloat16)
    other["optimizer"] = other["optimizer"][:3]
    with pytest.raises(UserError) as raised:
        Checkpoints(str(tmp_path)).restore(other)
    assert str(raised.value) == (
        f"spec.checkpoint.path: {tmp_path}/step-00000005 is of another model:\n"
        "  model.bias: the job's model has float32[32], the checkpoint float32[16]\n"
        "  model.scale: the job's model has bfloat16[2], the checkpoint no such parameter\n"
        "  optimizer.3: the job's model has no such parameter, the checkpoint float32[4, 4]\n"
        "Choose another spec.checkpoint.path, or the spec.model, spec.optimizer and spec.trainer.lora that it is of."
    )
    assert folders(tmp_path) == ["step-00000005"]


def test_a_long_list_of_differences_is_cut_short(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {f"w{i}": jnp.ones(1) for i in range(9)}, {})
    with pytest.raises(UserError, match=r"w4: .*\n  and 4 more\n"):
        checkpoints.restore({f"w{i}": jnp.ones(2) for i in range(9)})


def test_a_lost_peer_is_a_timeout_not_a_hang(tmp_path):
    checkpoints = saved(tmp_path, 5)
    two = Checkpoints(str(tmp_path), process_count=2, timeout=0.3)
    two.save(6, state(mesh(8)), {})
    with pytest.raises(LostPeerError, match=r"step-00000006: not written within 0 s by process 1 of 2"):
        two.wait()
    assert checkpoints.restore(template(mesh(8)))[1] == {"step": 5}


def test_a_lost_process_0_is_a_timeout_not_a_hang(tmp_path):
    one = Checkpoints(str(tmp_path), process_index=1, process_count=2, timeout=0.3)
    one.save(6, state(mesh(8)), {})
    with pytest.raises(LostPeerError, match=r"step-00000006: process 0 did not commit it within 0 s"):
        one.wait()


def test_a_disagreeing_peer_passes_a_checkpoint_by(tmp_path):
    """Another process that finds damage takes this one along to the checkpoint before."""
    saved(tmp_path, 5, 6, keep=KEEP_ALL)
    answers = iter([True, True, True, False])  # looked, manifest fine, read, and not the same values
    here = Checkpoints(str(tmp_path), agree=lambda ok: ok and next(answers, True))
    assert here.restore(template(mesh(8)))[1] == {"step": 5}
    assert folders(tmp_path) == ["step-00000005", "step-00000006.corrupt"]


def test_what_cannot_be_reached_is_not_taken_for_damage(tmp_path):
    saved(tmp_path, 5)
    answers = iter([False])
    with pytest.raises(LostPeerError, match=r"another process cannot read"):
        Checkpoints(str(tmp_path), agree=lambda ok: ok and next(answers, True)).restore(template(mesh(8)))
    assert folders(tmp_path) == ["step-00000005"]


def test_arrays_are_zarr_that_others_can_open(tmp_path):
    import tensorstore as ts

    checkpoints = Checkpoints(str(tmp_path))
    weight = hax.named(jnp.arange(384.0).reshape(16, 24), (EMBED, MLP))
    checkpoints.save(1, {"w": weight}, {}, block=True)
    store = ts.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/step-00000001/arrays/w/"}).result()
    assert store.domain.labels == ("embed", "mlp")
    assert np.array_equal(store.read().result(), weight.array)


def test_manifest_is_json_with_the_job_in_it(tmp_path):
    saved(tmp_path, 5, job="gpt2-small", job_digest="abc", now=lambda: 1234.5)
    body = json.loads((tmp_path / "step-00000005" / "manifest.json").read_text())["body"]
    assert (body["job"], body["job_digest"], body["created"], body["step"]) == ("gpt2-small", "abc", 1234.5, 5)


def test_a_url_that_cannot_be_written_to_is_a_users_error():
    with pytest.raises(UserError, match=r"spec\.checkpoint\.path is 'ftp://x/y'"):
        Checkpoints("ftp://x/y")


def flip(path, bit):
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
