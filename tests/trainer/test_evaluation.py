"""Evaluations of a run that is stopped: each is there once, with the value that it has without the stop."""

import shutil

import pytest
from small_runs import SmallRuns

pytestmark = pytest.mark.slow

EVERY = 4


def test_an_evaluation_that_a_kill_cut_off_is_made_by_whoever_goes_on(tmp_path):
    """The checkpoint of its step is there, since that is saved first."""
    runs = SmallRuns(tmp_path, seq_len=16, batch_size=16, steps=10)
    runs.text.write_text("".join(f"{number} times {number} is {number * number}\n" for number in range(2000)))
    options = (
        f"trainer.stepsPerEval={EVERY}", "trainer.maxEvalBatches=2",
        f"checkpoint.keep=[{{every: {EVERY}}}]", f"data.validationUrls=[{runs.text}]",
    )  # fmt: skip
    runs.run("undisturbed", *options)
    evaluations = runs.lines("undisturbed", "validation_loss")
    assert [step for step, _ in evaluations] == [4, 8, 10]

    # Killed in the second evaluation; then in the first, whose line stands there from before.
    for killed_at in (8, 4):
        run = tmp_path / f"killed at {killed_at}"
        shutil.copytree(tmp_path / "undisturbed", run)
        for folder in (run / "checkpoints").glob("step-*"):
            if int(folder.name.rpartition("-")[2]) > killed_at:
                shutil.rmtree(folder)
        assert max(runs.checkpoints(run.name).steps()) == killed_at
        if killed_at == 8:
            metrics = run / "metrics.jsonl"
            kept = [line for line in metrics.read_text().splitlines() if '"step": 8' not in line or '"loss"' in line]
            metrics.write_text("\n".join(kept) + "\n")
        runs.run(run.name, *options)
        assert runs.lines(run.name, "validation_loss") == evaluations
        assert runs.losses(run.name) == runs.losses("undisturbed")
