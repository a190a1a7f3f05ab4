"""The model of a checkpoint of lateen, from its manifest. The trainer writes it (`lateen_trainer.checkpoint.manifest`)
and checks it; here it is only read, so that a job that starts from a checkpoint can leave `spec.model` out."""

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec.model import ModelSpec

MANIFEST = "manifest.json"
"""File in the folder of a step; a checkpoint without one is not complete."""

ABOUT = "about"
"""Key of its metadata, below which the model and the facts of the run are."""

STEP_FOLDER = re.compile(r"step-(\d{8,})")
"""Name of the folder of a step."""

_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


@dataclass(frozen=True)
class CheckpointModel:
    """The model of a checkpoint."""

    name: str
    """The folder of the step, below the folder that was named; empty if that is the step's own."""

    model: ModelSpec
    """With `vocab_size`."""


def read_checkpoint_model(folder: ModelFolder) -> CheckpointModel | None:
    """The model of the newest complete checkpoint in a folder, or of the one that the folder is.

    Returns:
        None: there is no checkpoint, or an older version wrote it, which kept no model.

    Raises:
        JobError: the folder cannot be read.
    """
    own = folder.read(MANIFEST)
    if own is not None:
        model = _model_in(own)
        return None if model is None else CheckpointModel("", model)
    for name in sorted(filter(STEP_FOLDER.fullmatch, folder.names()), key=lambda name: int(name[5:]), reverse=True):
        content = folder.read(f"{name}/{MANIFEST}")
        model = None if content is None else _model_in(content)
        if model is not None:
            return CheckpointModel(name, model)
    return None


def _model_in(manifest: bytes) -> ModelSpec | None:
    """The model in a manifest; None: there is none. What is damaged the trainer names when it reads the arrays."""
    try:
        about: dict[str, Any] = json.loads(manifest)["body"]["metadata"][ABOUT]
        return _MODEL.validate_python({**about["model"], "vocabSize": about["vocab_size"]})
    except (ValueError, KeyError, TypeError, ValidationError):
        return None
