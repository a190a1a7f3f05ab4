"""The model of a checkpoint, on this machine."""

from typing import Any

import jax

from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.initial import read_model_arrays
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.lora import LoraModel


def read_checkpoint_model(
    about: AboutRun, checkpoints: CheckpointFolder, manifest: Manifest, *, field: str, platform: str = "cpu"
) -> Any:
    """The model that a run evaluates and exports, with its adapters if it has some.

    Args:
        about: the run.
        checkpoints: its checkpoints.
        manifest: of the one to read.
        field: that names it; for messages.
        platform: on which it is to compute.

    Raises:
        UserError: the checkpoint is of another model.
        CorruptCheckpointError: it is damaged.
    """
    config = make_config(about.model, about.vocab_size, platform)

    def init() -> Any:
        key = jax.random.key(0)
        base = init_model(config, key=key)
        return base if about.lora is None else LoraModel.init(base, about.lora, key=key)

    shapes = jax.eval_shape(init)
    leaves = named_leaves(shapes)
    arrays = read_model_arrays(checkpoints, manifest, leaves, field=field, vocab_size=about.vocab_size)
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)
