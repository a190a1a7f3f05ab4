"""A disk that becomes full while a run trains: what was trained is saved elsewhere, and the run says how it ended.

It takes some fifteen seconds: nothing smaller shows that the trainer, its checkpoints and `lateen run` hold together.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Relative folders are below the run's, whose disk it is that becomes full.
JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: small}
spec:
  model: {hiddenDim: 32, numHeads: 2, numLayers: 2, seqLen: 64}
  data: {tokenizer: bytes, trainUrls: ["python-stdlib://json/*.py"], cacheDir: ../../cache}
  trainer: {numTrainSteps: 100000, trainBatchSize: 8}
  checkpoint: {path: ../../checkpoints, saveInterval: 1h}
  compute: {accelerator: cpu, devicesPerHost: 1}
"""

# Fills the disk of the run's folder once ten steps are trained.
SCRIPT = """
mount -t tmpfs -o size=2m tmpfs runs || exit 99
"$@" &
while [ "$(cat runs/small/metrics.jsonl 2>/dev/null | wc -l)" -lt 10 ]; do
  kill -0 $! || break; sleep 0.05
done
head -c 4m /dev/zero > runs/filler 2>/dev/null
wait $!; code=$?
rm runs/filler; cp -r runs/small copied; exit $code
"""


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_state_is_saved_elsewhere_and_the_run_says_why_it_ended(tmp_path: Path, hosts: int):
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("making a mount namespace is not permitted here")
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-m", "lateen_api.cli", "run", "job.yaml", "--hosts", str(hosts)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", SCRIPT, "sh", *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 40, done.stderr
    result = json.loads((tmp_path / "copied" / "result.json").read_text())
    assert (result["state"], result["attemptCount"]) == ("Failed", 1)
    metrics = tmp_path / "runs" / "small" / "metrics.jsonl"
    assert f"{metrics}: the disk is full: " in result["message"]
    assert "Make room, or name a place elsewhere. The step was finished and its state saved" in result["message"]
    assert (tmp_path / result["checkpoint"] / "manifest.json").exists()
    assert result["attempts"][0]["checkpointStep"] == result["step"] >= 10
    steps = [json.loads(line)["step"] for line in (tmp_path / "copied" / "metrics.jsonl").read_text().splitlines()]
    assert steps[:10] == list(range(1, 11))
    assert "Traceback" not in done.stderr + "".join(
        path.read_text() for path in (tmp_path / "copied" / "logs").glob("*.log")
    )
