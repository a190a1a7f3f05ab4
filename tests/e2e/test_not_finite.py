"""A loss that is not finite, met by two processes of a whole run.

Each run takes some ten seconds, as in `test_run`; they buy that processes agree on what to leave out, and that a
SIGKILL at the worst moment neither loses the decision nor takes it twice.
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from poisoned import poisoned_text

pytestmark = pytest.mark.slow

STEPS, BAD, BATCH, SEQ_LEN = 40, 25, 8, 32
LEFT_OUT = "Batch 25 was left out, since the loss was not finite."

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {{name: small}}
spec:
  model: {{hiddenDim: 32, numHeads: 2, numLayers: 2, seqLen: {seq_len}}}
  data:
    tokenizer: bytes
    trainUrls: ["{folder}/text.txt"]
    validationUrls: ["python-stdlib://asyncio/base_*.py"]
    cacheDir: "{folder}/cache"
  optimizer: {{learningRate: 3e-3, warmup: 5}}
  trainer: {{numTrainSteps: {steps}, trainBatchSize: {batch}, stepsPerEval: 10, maxEvalBatches: 2}}
  checkpoint: {{saveInterval: 1h, keep: [{{every: 10}}]}}
  compute: {{accelerator: cpu, hosts: 2, devicesPerHost: 2}}
  recovery: {{heartbeatTimeout: 10s, onNaN: rollback}}
"""


@pytest.fixture
def job(tmp_path) -> str:
    """A job whose batch 25 gives NaN."""
    poisoned_text(tmp_path / "text.txt", tmp_path / "cache", [BAD], sequences=400, seq_len=SEQ_LEN, batch_size=BATCH)
    return JOB.format(folder=tmp_path, steps=STEPS, batch=BATCH, seq_len=SEQ_LEN)


def test_a_kill_right_after_a_rollback_leaves_out_the_same_batch_and_changes_no_loss(lateen_run, job):
    undisturbed = lateen_run("--run-dir", "undisturbed", job=job)
    assert undisturbed.finish() == 0, undisturbed.output
    run = lateen_run("--run-dir", "killed", job=job)

    wait_for(run.folder / "checkpoints" / "skipped-batches.json", run)
    os.kill(run.trainers()[0], signal.SIGKILL)

    assert run.finish() == 0, run.output
    assert list(run.steps()) == list(range(1, STEPS + 1))
    assert run.steps() == undisturbed.steps()
    assert validations(run) == validations(undisturbed)
    assert ledger(run) == ledger(undisturbed)
    for number in (0, 1):
        assert log(undisturbed, 1, number).count("going back to the checkpoint of step 20") == 1
        assert log(run, 1, number).count("going back to the checkpoint of step 20") == 1
        assert "going back" not in log(run, 2, number)
        for ended, attempt in ((undisturbed, 1), (run, 2)):
            assert last_word(ended, attempt, number) == f"All steps are trained. {LEFT_OUT}"
    assert (undisturbed.result()["attemptCount"], run.result()["attemptCount"]) == (1, 2)
    assert run.result()["attempts"][1]["firstStep"] == 20


def test_skip_and_rollback_give_the_same_losses_on_two_processes(lateen_run, job):
    rolled_back = lateen_run("--run-dir", "rolled-back", job=job)
    assert rolled_back.finish() == 0, rolled_back.output
    skipped = lateen_run("--run-dir", "skipped", "--set", "recovery.onNaN=skip", job=job)
    assert skipped.finish() == 0, skipped.output

    assert list(skipped.steps()) == list(range(1, STEPS + 1))
    assert skipped.steps() == rolled_back.steps()
    assert validations(skipped) == validations(rolled_back)
    assert ledger(skipped) == ledger(rolled_back)


def test_stop_ends_both_processes_with_its_own_exit_code_and_rollback_goes_on_from_there(lateen_run, job):
    stopped = lateen_run("--set", "recovery.onNaN=stop", job=job)

    assert stopped.finish() == 43, stopped.output
    cause = stopped.result()["message"]
    assert "The loss of step 26 is nan, the norm of its gradient nan: expected finite numbers" in cause
    assert cause.endswith("checkpoints/step-00000020")

    resumed = lateen_run(job=job)
    assert resumed.finish() == 0, resumed.output
    assert list(resumed.steps()) == list(range(1, STEPS + 1))
    assert resumed.result()["attempts"][-1]["firstStep"] == 20


def wait_for(path: Path, run) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert run.process.poll() is None, run.process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.002)


def validations(run) -> dict[int, float]:
    """Validation losses by step."""
    return {line["step"]: line["validation_loss"] for line in run.lines() if "validation_loss" in line}


def ledger(run) -> str:
    return (run.folder / "checkpoints" / "skipped-batches.json").read_text()


def last_word(run, attempt: int, number: int) -> str:
    return json.loads((run.folder / "logs" / f"attempt-{attempt}-process-{number}.json").read_text())["message"]


def log(run, attempt: int, number: int) -> str:
    return (run.folder / "logs" / f"attempt-{attempt}-process-{number}.log").read_text()
