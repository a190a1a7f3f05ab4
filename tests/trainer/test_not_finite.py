"""Runs that meet a loss that is not finite, in this process: what each choice of `recovery.onNaN` makes of it.

All of them train for some seconds, most of it compilation; they buy that loop, ledger, checkpoints and metrics agree.
Losses are compared to the bit with those of a run that knew of the bad batch from its start.
"""

import gc
import math
from pathlib import Path

import jax
import pytest
from lateen_api.termination import ExitCode
from lateen_trainer.resume import restore_or_init
from poisoned import poisoned_text
from small_runs import SmallRuns

pytestmark = pytest.mark.slow

SEQ_LEN, BATCH, STEPS = 16, 16, 10
WHY = "known from the start"


class Bench(SmallRuns):
    """Runs over one text whose batches `bad` give NaN."""

    def __init__(self, folder: Path, *bad: int):
        super().__init__(folder, seq_len=SEQ_LEN, batch_size=BATCH, steps=STEPS)
        poisoned_text(self.text, self.cache, bad, sequences=14 * BATCH, seq_len=SEQ_LEN, batch_size=BATCH)

    def knowing(self, name: str, *batches: int) -> None:
        """Tells a run that has not begun which batches to leave out."""
        self.checkpoints(name).note_skipped(dict.fromkeys(batches, WHY), {})


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """Batch 5 is bad; the run `reference` knows it."""
    bench = Bench(tmp_path_factory.mktemp("bench"), 5)
    bench.knowing("reference", 5)
    assert bench.run("reference").exit_code is ExitCode.DONE
    return bench


ROLLBACK, SKIP = "recovery.onNaN=rollback", "recovery.onNaN=skip"
OFTEN = "checkpoint.keep=[{every: 4}]"
SEEN = "the loss of step 6 is nan, the norm of its gradient nan"


def test_a_reference_that_knows_is_finite_and_learns(bench):
    losses = bench.losses("reference")
    assert len(losses) == STEPS and all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("choice", "often"),
    [(ROLLBACK, OFTEN), (ROLLBACK, "checkpoint.keep=[]"), (SKIP, OFTEN)],
    ids=["rollback to a checkpoint", "rollback to the beginning", "skip"],
)
def test_the_run_goes_on_as_if_the_batch_had_not_been_there(bench, choice, often):
    name = f"{choice[15:]}-{len(often)}"
    outcome = bench.run(name, choice, often)

    assert (outcome.exit_code, outcome.step) == (ExitCode.DONE, STEPS)
    assert outcome.message == "All steps are trained. Batch 5 was left out, since the loss was not finite."
    assert bench.losses(name) == bench.losses("reference")
    assert bench.summary(name)["skippedBatches"] == [5]
    assert bench.checkpoints(name).skipped()[0] == {5: SEEN}


def test_the_broken_state_is_gone_before_the_checkpoint_is_read(bench, monkeypatch):
    """Two states would not fit a device."""
    sizes = []

    def measured(*arguments):
        sizes.append(sum(array.nbytes for array in jax.live_arrays() if not array.is_deleted()))
        restored = restore_or_init(*arguments)
        sizes.append(sum(leaf.nbytes for leaf in jax.tree.leaves(restored[0])))
        return restored

    monkeypatch.setattr("lateen_trainer.train.restore_or_init", measured)
    gc.collect()
    assert bench.run("freed", ROLLBACK, OFTEN).exit_code is ExitCode.DONE
    # Other tests of this process may hold arrays of their own.
    of_others, state, before_going_back, _ = sizes
    assert before_going_back - of_others < state / 10


def test_stop_names_the_step_and_keeps_the_checkpoint_before_it_from_which_rollback_goes_on(bench):
    stopped = bench.run("stop", OFTEN)

    checkpoint = f"{bench.folder}/stop/checkpoints/step-00000004"
    assert (stopped.exit_code, stopped.step, stopped.checkpoint) == (ExitCode.NAN, 6, checkpoint)
    assert stopped.message == (
        "The loss of step 6 is nan, the norm of its gradient nan: expected finite numbers, which did not come. Lower "
        "spec.optimizer.learningRate, lengthen spec.optimizer.warmup or use float32 (spec.trainer.mp). The last "
        f"checkpoint from before it: {checkpoint}."
    )
    assert math.isnan(bench.losses("stop")[5]) and len(bench.losses("stop")) == 6
    assert bench.checkpoints("stop").skipped()[0] == {}

    assert bench.run("stop", OFTEN, ROLLBACK).exit_code is ExitCode.DONE
    assert bench.losses("stop") == bench.losses("reference")


def test_a_later_resume_leaves_the_batch_out_even_without_the_ledger_if_its_checkpoint_did(bench):
    bench.run("longer", OFTEN, ROLLBACK, "trainer.numTrainSteps=8", "optimizer.lrSchedule=constant")
    (bench.folder / "longer" / "checkpoints" / "skipped-batches.json").unlink()
    bench.run("longer", OFTEN, "optimizer.lrSchedule=constant")
    bench.knowing("constant", 5)
    bench.run("constant", "optimizer.lrSchedule=constant")

    assert bench.losses("longer") == bench.losses("constant")
    assert bench.summary("longer")["skippedBatches"] == [5]


@pytest.fixture(scope="module")
def worse(tmp_path_factory) -> Bench:
    """Batches 5, 6 and 11 are bad; the run `reference` knows it. Its last step trains on batch 12."""
    bench = Bench(tmp_path_factory.mktemp("worse"), 5, 6, 11)
    bench.knowing("reference", 5, 6, 11)
    assert bench.run("reference").exit_code is ExitCode.DONE
    return bench


@pytest.mark.parametrize("choice", [ROLLBACK, SKIP])
def test_several_bad_batches_at_one_step_and_at_the_last_are_all_left_out(worse, choice):
    name = choice[15:]
    outcome = worse.run(name, choice, OFTEN)

    assert outcome.message.endswith("Batches 5, 6 and 11 were left out, since the loss was not finite.")
    assert worse.losses(name) == worse.losses("reference")
    assert worse.checkpoints(name).skipped()[0] == {
        5: SEEN,
        6: SEEN,
        11: "the loss of step 10 is nan, the norm of its gradient nan",
    }


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (ROLLBACK, "Training went back to step 4 as often as spec.recovery.maxFailures (1) allows"),
        (SKIP, "which did not come on 2 batches in a row (spec.recovery.maxFailures)"),
    ],
)
def test_more_than_max_failures_in_a_row_end_the_run(worse, choice, says):
    name = f"bounded-{choice[15:]}"
    outcome = worse.run(name, choice, OFTEN, "recovery.maxFailures=1")

    assert outcome.exit_code is ExitCode.NAN
    assert says in outcome.message
    assert worse.checkpoints(name).skipped()[0] == {5: SEEN}


@pytest.mark.parametrize("choice", [ROLLBACK, SKIP])
def test_a_learning_rate_that_ruins_the_parameters_ends_the_run(bench, choice):
    name = f"diverged-{choice[15:]}"
    outcome = bench.run(name, choice, "optimizer.learningRate=1e30", "optimizer.warmup=0")

    assert outcome.exit_code is ExitCode.NAN
    assert "spec.recovery.maxFailures" in outcome.message and "Lower spec.optimizer.learningRate" in outcome.message
    assert len(bench.checkpoints(name).skipped()[0]) == 3


def test_max_failures_of_zero_is_stop(bench):
    outcome = bench.run("none", ROLLBACK, "recovery.maxFailures=0")
    assert outcome.exit_code is ExitCode.NAN
    assert bench.checkpoints("none").skipped()[0] == {}


def test_a_ledger_of_another_order_of_the_data_is_refused(bench):
    bench.checkpoints("seeded").note_skipped({5: WHY}, {"seed": 3})
    outcome = bench.run("seeded")

    assert outcome.exit_code is ExitCode.USER_ERROR
    assert "skipped-batches.json) that was written with spec.trainer.seed 3, and now it is 0" in outcome.message
