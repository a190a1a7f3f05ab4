"""The job that is trained: as small as it can be, with all that could show in the bits."""

from pathlib import Path
from typing import Any

from lateen_api.spec import LMTrainingJob

from reproducibility.cases import BFLOAT16_PARAMETERS, Layout, Numerics

STEPS = 12
STEPS_PER_SAVE = 3
LANES = 16
"""Twice the devices of the widest layout."""

THREADS = 8
"""Of XLA's pool in a process: the devices of the process that has most. Each layout must have the same."""


_SIZE = {"hiddenDim": 64, "numHeads": 4, "numLayers": 2, "seqLen": 64, "gradientCheckpointing": False}

MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {**_SIZE, "residPdrop": 0.1, "embedPdrop": 0.1},
    "llama": {**_SIZE, "type": "llama", "numKvHeads": 2, "intermediateDim": 172},
}
"""By family: GPT-2 with dropout, Llama with heads of keys that two heads of queries share each."""


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"learningRate": 3e-3},
    "sophia-h": {"type": "sophia-h", "learningRate": 3e-3, "updateInterval": 5},
    "sophia-g": {"type": "sophia-g", "learningRate": 3e-3, "updateInterval": 5},
    "lion": {"type": "lion", "learningRate": 6e-4},
    "adafactor": {"type": "adafactor", "learningRate": 3e-2},
    "muon": {"type": "muon", "learningRate": 3e-3},
}
"""By type. Sophia estimates the curvature in three of the steps."""

OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "lora": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": ["all-linear"]}},
    "ema": {"ema": {"decay": 0.9}},
}
"""What `spec.trainer` has besides. Adapters stand beside random weights, which stay as they are."""

_TRAIN = ["python-stdlib://json/*.py", "python-stdlib://email/*.py"]
_VALIDATION = ["python-stdlib://asyncio/base_*.py"]

DATA: dict[str, dict[str, Any]] = {
    "text": {"trainUrls": _TRAIN, "validationUrls": _VALIDATION},
    "documents": {"trainUrls": _TRAIN, "validationUrls": _VALIDATION, "packing": "documents"},
    "window": {"trainUrls": _TRAIN, "validationUrls": _VALIDATION, "shuffle": {"window": 50}},
    "mixture": {
        "configs": {
            "json": {"trainUrls": _TRAIN[:1]},
            "email": {"trainUrls": _TRAIN[1:], "validationUrls": _VALIDATION},
        },
        "trainWeightStages": [
            {"step": 0, "weights": {"json": 0.7, "email": 0.3}},
            {"step": STEPS // 2 + 1, "weights": {"json": 1, "email": 4}},
        ],
        "packing": "documents",
    },
}
"""By name: one stream, packed documents, windows (twelve steps go through seven and an eighth), and a mixture of packed
documents whose weights change between two saves."""


def make_job(numerics: Numerics, layout: Layout, run: Path, cache: Path) -> LMTrainingJob:
    """The job on a layout.

    Dropout is on where the family has it, the gradient is clipped in every step, and there is an evaluation after the
    last one.

    Args:
        run: folder of the run; its checkpoints go below it.
        cache: folder of the tokens, for all runs.
    """
    parameters = "bfloat16" if numerics.option == BFLOAT16_PARAMETERS else "float32"
    body: dict[str, Any] = {
        "apiVersion": "lateen.dev/v1alpha1",
        "kind": "LMTrainingJob",
        "metadata": {"name": "bits"},
        "spec": {
            "model": MODELS[numerics.family],
            "data": {"tokenizer": "bytes", "cacheDir": str(cache), **DATA[numerics.data]},
            "optimizer": {"weightDecay": 0.1, "maxGradNorm": 0.5, "warmup": 3, **OPTIMIZERS[numerics.optimizer]},
            "trainer": {
                "numTrainSteps": STEPS, "trainBatchSize": 2 * LANES, "lanes": LANES,
                "mp": f"p={parameters},c={numerics.dtype}",
                "modelAxisSize": numerics.tensor, "stepsPerEval": 1000, "maxEvalBatches": 1,
                **OPTIONS.get(numerics.option, {}),
            },
            "checkpoint": {
                "path": str(run / "checkpoints"), "saveInterval": "1h", "keep": [{"every": STEPS_PER_SAVE}],
            },
            "compute": {
                "accelerator": "cpu", "cpu": THREADS,
                "hosts": layout.processes, "devicesPerHost": layout.devices_per_process,
            },
            # A machine with other work may take long for a step.
            "recovery": {"heartbeatTimeout": "2m", "graceSeconds": 120},
        },
    }  # fmt: skip
    return LMTrainingJob.model_validate(body)
