"""Folders of runs, as `lateen run` and the trainer leave them."""

import json
from pathlib import Path
from typing import Any

PASSWORD = "corr3ct-horse"
SIGNATURE = "kJ8zQ2mVx0aLrT5w"
HF_TOKEN = "hf_AbCdEfGhIjKlMnOp"
STEPS = 40

ENDED = {
    "number": 1,
    "hosts": 2,
    "started": "2030-01-31T12:00:00.000Z",
    "ended": "2030-01-31T12:01:00.000Z",
    "failureClass": "Infrastructure",
    "reason": "SIGKILL",
    "exitCode": 137,
    "message": "process 1 was killed by SIGKILL",
    "firstStep": 0,
    "step": 20,
    "checkpointStep": 10,
    "processStarted": "2030-01-31T12:00:10.000Z",
    "lastPhase": "Training",
    "phaseSeconds": {"Starting": 10.0, "Training": 40.0},
    "dataWaitSeconds": 4.0,
    "stepsLost": 10,
}
DONE = {
    "number": 2,
    "hosts": 2,
    "started": "2030-01-31T12:01:05.000Z",
    "ended": "2030-01-31T12:02:05.000Z",
    "failureClass": "Done",
    "reason": "Done",
    "exitCode": 0,
    "message": "process 0 is done",
    "firstStep": 10,
    "step": STEPS,
    "checkpointStep": STEPS,
    "processStarted": "2030-01-31T12:01:05.000Z",
    "lastPhase": "Done",
    "phaseSeconds": {"Restoring": 5.0, "Training": 50.0, "Evaluating": 3.0, "Saving": 2.0},
}
JOB: dict[str, Any] = {
    "apiVersion": "lateen.dev/v1alpha1",
    "kind": "LMTrainingJob",
    "metadata": {"name": "nano"},
    "spec": {
        "model": {"type": "gpt2", "hiddenDim": 128, "seqLen": 256},
        "data": {
            "tokenizer": "bytes",
            "trainUrls": [
                f"https://reader:{PASSWORD}@data.example/a.jsonl?X-Amz-Signature={SIGNATURE}&part=1",
                "gs://corpus/b.jsonl",
            ],
        },
        "trainer": {"numTrainSteps": STEPS, "trainBatchSize": 8},
        "compute": {"env": {"HF_TOKEN": "***", "TOKENIZERS_PARALLELISM": "false"}},
    },
}


def loss(step: int) -> float:
    """Of the run's step."""
    return 2.0 + 3.0 / step


def make_run(folder: Path, *, attempts: list[dict[str, Any]] | None = None, **result: Any) -> Path:
    """A run of two attempts, in `folder`; `result` are fields of its result.json, no such file if there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "step": step,
            "attempt": 1 + (step > 10),
            "loss": loss(step),
            "grad_norm": 0.5,
            "learning_rate": 1e-3 * step,
            "step_seconds": 0.25,
            "data_wait_seconds": 0.001,
            "tokens_per_second": 8192.0,
        }
        for step in range(1, STEPS + 1)
    ]
    lines += [
        {"step": 20, "attempt": 2, "validation_loss": 2.5},
        {"step": STEPS, "attempt": 2, "validation_loss": 2.25},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write(folder / "job.json", JOB)
    write(folder / "attempts.json", {"attempts": [ENDED, DONE] if attempts is None else attempts})
    if result:
        write(folder / "result.json", {"name": "nano", "of": STEPS, **result})
    return folder


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def make_checkpoint(folder: Path, step: int, *, size: int = 1000) -> None:
    """A committed checkpoint of some bytes in arrays, below `folder`."""
    place = folder / f"step-{step:08}"
    (place / "arrays").mkdir(parents=True)
    (place / "arrays" / "data").write_bytes(bytes(size))
    made_by = {"jax": "0.10.2", "device": "x86_64 avx512f"}
    body = {"created": 1_896_091_200.0, "job": "nano", "step": step, "metadata": {"madeBy": made_by}}
    write(place / "manifest.json", {"body": body, "digest": "d"})
