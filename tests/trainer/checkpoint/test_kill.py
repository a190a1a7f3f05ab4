"""SIGKILL in the middle of saves."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("worker.py")
KILLS = int(os.environ.get("LATEEN_TEST_KILLS", "20"))


@pytest.mark.slow
@pytest.mark.timeout(30 * KILLS)
def test_every_start_finds_a_checkpoint_no_older_than_the_last_committed(tmp_path):
    """Buys that a lost machine costs no more than the steps since the last save, whenever it is lost: 20 processes
    are killed 0 to 0.6 s after a save began, while they write, commit, or delete the checkpoint before."""
    orders = json.dumps([["restore_and_save_on", {"folder": str(tmp_path)}]])
    chance = random.Random(0)
    committed = torn = 0
    for kill in range(KILLS):
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), "0", "1", "0", "2", orders],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert worker.stdout is not None and worker.stderr is not None
            restored = told(worker, "restored")
            assert restored >= committed, f"kill {kill}: step {restored} is older than {committed}"
            told(worker, "saving")
            time.sleep(chance.uniform(0, 0.6))
        finally:
            worker.kill()
        lines = [json.loads(line) for line in worker.stdout]
        worker.communicate()
        committed = max([restored, *(line["committed"] for line in lines if "committed" in line)])
        torn += any(not list(step.glob("*.json")) for step in tmp_path.glob("step-????????"))
    assert not list(tmp_path.glob("*.corrupt"))
    assert torn >= KILLS // 10, "the kills came at the wrong moments, and nothing was tried"


def told(worker: subprocess.Popen, what: str) -> int:
    """The step of the worker's next line, which is about `what`."""
    line = worker.stdout.readline()  # type: ignore[union-attr]
    assert line, worker.stderr.read()[-3000:]  # type: ignore[union-attr]
    return json.loads(line)[what]
