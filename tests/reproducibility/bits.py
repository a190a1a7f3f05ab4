"""What of two runs is compared, without tolerance."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lateen_trainer.checkpoint import zarr
from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.checkpoint.verify import verify


@dataclass(frozen=True)
class Bits:
    """All numbers that a run has come to."""

    losses: list[float]
    """Of every step: nats per token, float32 values as they are."""

    grad_norms: list[float]
    """Of every step, before clipping."""

    validation_loss: float
    parameters: str
    """SHA-256 of all parameters after the last step."""

    state: str
    """SHA-256 of parameters, the optimizer's means and counters."""

    def to_json(self) -> dict[str, Any]:
        """As JSON, which keeps every bit of a float; `Bits(**fields)` reads it back."""
        return asdict(self)

    def difference(self, other: "Bits") -> str | None:
        """What differs first; None: nothing."""
        for step, (mine, theirs) in enumerate(zip(self.losses, other.losses, strict=True), start=1):
            if mine != theirs:
                return f"loss from step {step}"
        for step, (mine, theirs) in enumerate(zip(self.grad_norms, other.grad_norms, strict=True), start=1):
            if mine != theirs:
                return f"gradient norm from step {step}"
        for name in ("parameters", "state", "validation_loss"):
            if getattr(self, name) != getattr(other, name):
                return name.replace("_", " ")
        return None


def read_bits(run: Path, steps: int) -> Bits:
    """The numbers of a run that has ended.

    Raises:
        AssertionError: a step is missing or stands twice, or the last checkpoint is not whole.
    """
    lines = [line for line in metrics(run) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, steps + 1)), "not every step once"
    summary = json.loads((run / "summary.json").read_text())
    arrays = read_arrays(run / "checkpoints", steps)
    return Bits(
        losses=[line["loss"] for line in lines],
        grad_norms=[line["grad_norm"] for line in lines],
        validation_loss=summary["validationLoss"],
        parameters=_digest({name: array for name, array in arrays.items() if name.startswith("model.")}),
        state=_digest(arrays),
    )


def metrics(run: Path) -> list[dict[str, Any]]:
    """The objects of metrics.jsonl; a line that is being written is left out."""
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def steps_trained(run: Path) -> int:
    """Steps that metrics.jsonl knows of."""
    return max((line["step"] for line in metrics(run) if "loss" in line), default=0)


def read_arrays(checkpoints: Path, step: int) -> dict[str, np.ndarray]:
    """The whole arrays of a checkpoint by name, however many processes wrote them.

    Raises:
        AssertionError: there is no such checkpoint, or it is damaged.
    """
    folder = CheckpointFolder(str(checkpoints))
    manifest = folder.look(step).manifest
    assert manifest is not None, f"{folder.where(step)} is not complete"
    damage = verify(folder, manifest)
    assert damage is None, f"{folder.where(step)}: {damage}"
    context, kvstore = zarr.io_context(), folder.kvstore(step)
    return {
        name: np.asarray(zarr.open_array(kvstore, name, entry.layout, context).read().result())
        for name, entry in manifest.arrays.items()
    }


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
