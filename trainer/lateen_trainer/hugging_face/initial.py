"""The parameters that a run begins with, where it does not draw them: of another checkpoint, or a folder of weights."""

import re
from dataclasses import replace
from typing import Any

import jax
from lateen_api.hugging_face.folder import CONFIG, ModelFolder
from lateen_api.hugging_face.initial_model import FIELD

from lateen_trainer.checkpoint.folder import CheckpointFolder, State
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.read import read_arrays
from lateen_trainer.checkpoint.restore import EMA
from lateen_trainer.checkpoint.state import Leaf, named_leaves
from lateen_trainer.digest import DamagedError
from lateen_trainer.errors import CorruptCheckpointError, UserError
from lateen_trainer.hugging_face.about import imported_in
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import match
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.models.families import tensor_map
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState

_MODEL = "model."
"""Beginning of the names of a model's arrays in a checkpoint."""

_ADAPTERS = "model.adapters."
_STEP_FOLDER = re.compile(r"(?P<folder>.*?)/*step-(?P<step>\d{8,})/*")
_NOT_HERE = ("http", "https", "hf")
_SHOWN = 5


def initial_state(run: Run, url: str) -> tuple[TrainState, Imported | None]:
    """A new state whose parameters are those of `url`; each process reads its part of them.

    Returns:
        The state, and what is to be kept of a folder in Hugging Face's format.

    Raises:
        UserError: there is nothing of the kind, or it is of another model.
        CorruptCheckpointError: the checkpoint is damaged.
        TrainerError: the place cannot be reached.
    """
    rules = run.settings.rules
    shapes = jax.eval_shape(run.make_base)
    template = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        rules.shardings(shapes),
    )
    leaves = named_leaves(template)
    arrays, imported = read_initial(run.spec.model.type, url, leaves, run.config.vocab_size)
    model = jax.tree.unflatten(jax.tree.structure(template), arrays)
    return _state_of(run, model), imported


def read_initial(kind: str, url: str, leaves: list[Leaf], vocab_size: int) -> tuple[list[jax.Array], Imported | None]:
    """The arrays of a model of the family `kind`, onto the shardings of `leaves`."""
    folder = ModelFolder(url, FIELD)
    config = folder.read_json(CONFIG)
    if config is None:
        return _read_checkpoint(folder, leaves)
    weights = Weights(folder)
    sources = match(weights, tensor_map(kind), leaves, vocab_size)
    return load_arrays(weights, sources), Imported.of(weights, sources, config)


def _state_of(run: Run, model: Any) -> TrainState:
    """The state of a model that is there already, which becomes part of it."""

    def init(model: Any) -> TrainState:
        return TrainState.init(lambda: run.adapted(model), run.settings.optimizer, has_ema=run.has_ema)

    shardings = run.settings.rules.shardings(jax.eval_shape(init, model))
    return jax.jit(init, out_shardings=shardings, donate_argnums=0)(model)


def _read_checkpoint(folder: ModelFolder, leaves: list[Leaf]) -> tuple[list[jax.Array], Imported | None]:
    checkpoints, manifest = find_checkpoint(folder)
    return read_model_arrays(checkpoints, manifest, leaves, field=folder.field), imported_in(manifest.metadata)


def read_model_arrays(
    checkpoints: CheckpointFolder, manifest: Manifest, leaves: list[Leaf], *, field: str, averages: bool = False
) -> list[jax.Array]:
    """The arrays of the model in a checkpoint, onto the shardings of `leaves`.

    Args:
        leaves: by their names in the model.
        field: that names the checkpoint; for messages.
        averages: take the averaged weights rather than the last ones.

    Raises:
        UserError: the checkpoint is of another model.
        CorruptCheckpointError: it is damaged.
    """
    where = checkpoints.where(manifest.step)
    wanted = [replace(leaf, name=_MODEL + leaf.name) for leaf in leaves]
    _check_same_arrays(field, where, wanted, manifest)
    if averages:
        # With LoRA the model itself has no average.
        names = {leaf.name: f"{EMA}.{leaf.name}" for leaf in leaves}
        kept = {_MODEL + name: average for name, average in names.items() if average in manifest.arrays}
        wanted = [replace(leaf, name=kept.get(leaf.name, leaf.name)) for leaf in wanted]
    try:
        return read_arrays(checkpoints.kvstore(manifest.step), manifest, wanted)
    except DamagedError as error:
        raise CorruptCheckpointError(f"{field}: {where} is corrupt: {error}. Name another checkpoint.") from error


def find_checkpoint(folder: ModelFolder) -> tuple[CheckpointFolder, Manifest]:
    """The newest complete checkpoint in a folder of checkpoints, or the one in the folder of a step.

    Raises:
        UserError: there is none.
    """
    match_ = _STEP_FOLDER.fullmatch(folder.url)
    scheme = folder.url.partition("://")[0] if "://" in folder.url else ""
    if scheme.lower() not in _NOT_HERE:
        checkpoints = CheckpointFolder(match_["folder"] or "." if match_ else folder.url)
        steps = checkpoints.steps()
        for step in reversed(steps if match_ is None else [int(match_["step"])]):
            found = checkpoints.look(step) if step in steps else None
            if found is not None and found.state is State.COMPLETE and found.manifest is not None:
                return checkpoints, found.manifest
    raise UserError(
        f"{folder.field} is {folder.url!r}: there is neither {CONFIG} of a model in Hugging Face's format nor a "
        "complete checkpoint of lateen. Name the folder that holds one; `lateen checkpoints` lists those of a run."
    )


def _check_same_arrays(field: str, where: str, leaves: list[Leaf], manifest: Manifest) -> None:
    held = {name: list(entry.layout.shape) for name, entry in manifest.arrays.items() if name.startswith(_MODEL)}
    expected = {leaf.name: list(leaf.shape) for leaf in leaves}
    names = [*expected, *sorted(held.keys() - expected.keys())]
    different = [name for name in names if held.get(name) != expected.get(name)]
    if not different:
        return
    if any(name.startswith(_ADAPTERS) for name in held.keys() - expected.keys()):
        raise UserError(
            f"{field}: {where} is of a run with trainer.lora, a model and adapters beside it: expected a model alone. "
            f"`lateen export --lora merged {where} FOLDER` makes one."
        )
    lines = [
        f"  {name}: the job's model has {expected.get(name, 'no such array')}, the checkpoint {held.get(name, 'none')}"
        for name in different[:_SHOWN]
    ]
    if len(different) > _SHOWN:
        lines.append(f"  and {len(different) - _SHOWN} more")
    raise UserError(
        f"{field}: {where} is of another model:\n" + "\n".join(lines) + "\nState its spec.model, or name another."
    )
