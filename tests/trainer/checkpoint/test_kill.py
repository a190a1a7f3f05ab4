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
    are killed while they save and delete, 0 to 0.6 s after they took up the checkpoint of the one before."""
    orders = json.dumps([["restore_and_save_on", {"folder": str(tmp_path)}]])
    chance = random.Random(0)
    committed = 0
    aside: set[str] = set()
    for kill in range(KILLS):
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), "0", "1", "0", "2", orders],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert worker.stdout is not None and worker.stderr is not None
            line = worker.stdout.readline()
            assert line, worker.stderr.read()[-3000:]
            restored = json.loads(line)["restored"]
            time.sleep(chance.uniform(0, 0.6))
        finally:
            worker.kill()
        steps = [json.loads(line)["committed"] for line in worker.stdout]
        worker.communicate()
        assert restored >= committed, f"kill {kill}: step {restored} is older than {committed}"
        committed = max([restored, *steps])
        aside |= {path.name for path in tmp_path.iterdir() if path.name.endswith(".incomplete")}
        assert not list(tmp_path.glob("*.corrupt"))
    # Without torn saves the kills came at the wrong moments, and nothing was tried.
    assert len(aside) >= KILLS // 10
