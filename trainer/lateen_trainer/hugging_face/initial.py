"""The parameters that a run begins with, where it does not draw them: of another checkpoint, or a folder of weights."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
from lateen_api.hugging_face.checkpoint import ABOUT
from lateen_api.hugging_face.folder import CONFIG, ModelFolder
from lateen_api.hugging_face.initial_model import FIELD

from lateen_trainer.checkpoint.folder import CheckpointFolder, State
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.read import read_arrays
from lateen_trainer.checkpoint.state import Leaf, named_leaves
from lateen_trainer.digest import DamagedError
from lateen_trainer.errors import CorruptCheckpointError, UserError
from lateen_trainer.hugging_face.about import imported_in
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import VOCAB, match
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.models.families import tensor_map
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState
from lateen_trainer.storage import check_reachable, explained

_MODEL, _EMA = "model.", "ema."
"""Beginning of the names of a model's arrays in a checkpoint, and of their running means."""

_ADAPTERS = (f"{_MODEL}adapters.", f"{_EMA}adapters.")
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
        return _read_checkpoint(folder, leaves, vocab_size)
    weights = Weights(folder)
    sources = match(weights, tensor_map(kind), leaves, vocab_size)
    return load_arrays(weights, sources), Imported.of(weights, sources, config)


def _state_of(run: Run, model: Any) -> TrainState:
    """The state of a model that is there already, which becomes part of it."""

    shardings = run.settings.rules.shardings(jax.eval_shape(run.state_of, model))
    return jax.jit(run.state_of, out_shardings=shardings, donate_argnums=0)(model)


def _read_checkpoint(
    folder: ModelFolder, leaves: list[Leaf], vocab_size: int
) -> tuple[list[jax.Array], Imported | None]:
    checkpoints, manifest = find_checkpoint(folder)
    arrays = read_model_arrays(checkpoints, manifest, leaves, field=folder.field, vocab_size=vocab_size)
    return arrays, imported_in(manifest.metadata)


def weights_in(manifest: Manifest) -> dict[str, str]:
    """Names of the arrays of the weights that a run evaluates and exports, by their names in the model: the averaged
    ones, where it uses them. With LoRA the model itself has no average."""
    prefixes = [_MODEL]
    if (manifest.metadata.get(ABOUT) or {}).get("averaged"):
        prefixes.append(_EMA)
    return {
        array.removeprefix(prefix): array
        for prefix in prefixes
        for array in manifest.arrays
        if array.startswith(prefix)
    }


def read_model_arrays(
    checkpoints: CheckpointFolder, manifest: Manifest, leaves: list[Leaf], *, field: str, vocab_size: int
) -> list[jax.Array]:
    """The arrays of the model in a checkpoint, onto the shardings of `leaves`, in their types.

    Args:
        leaves: by their names in the model.
        field: that names the checkpoint; for messages.
        vocab_size: entries of the vocabulary. Its axis may be padded in the checkpoint or in `leaves`, or in both to
            another size; padding is 0.

    Raises:
        UserError: the checkpoint is of another model.
        CorruptCheckpointError: it is damaged.
    """
    where = checkpoints.where(manifest.step)
    names = weights_in(manifest)
    wanted = [replace(leaf, name=names.get(leaf.name, _MODEL + leaf.name)) for leaf in leaves]
    _check_same_arrays(field, where, wanted, manifest, vocab_size)
    try:
        return read_arrays(checkpoints.kvstore(manifest.step), manifest, wanted)
    except DamagedError as error:
        raise CorruptCheckpointError(f"{field}: {where} is corrupt: {error}. Name another checkpoint.") from error


def find_checkpoint(folder: ModelFolder, wanted: int | None = None) -> tuple[CheckpointFolder, Manifest]:
    """The newest complete checkpoint in a folder of checkpoints, or the one in the folder of a step.

    Args:
        folder: the folder.
        wanted: the step of which it is to be; None: any.

    Raises:
        UserError: there is none.
        TrainerError: the object store does not answer within some seconds.
    """
    match_ = _STEP_FOLDER.fullmatch(folder.url)
    scheme = folder.url.partition("://")[0] if "://" in folder.url else ""
    if scheme.lower() not in _NOT_HERE:
        with explained(folder.url, field=folder.field):
            check_reachable(folder.url, field=folder.field)
        checkpoints = CheckpointFolder(match_["folder"] or "." if match_ else folder.url)
        steps = checkpoints.steps()
        named = steps if match_ is None else [int(match_["step"])]
        for step in reversed([step for step in named if step in steps and wanted in (None, step)]):
            found = checkpoints.look(step)
            if found.state is State.COMPLETE and found.manifest is not None:
                return checkpoints, found.manifest
        if wanted is not None and steps:
            raise UserError(
                f"{folder.field} is {folder.url!r}: there is no complete checkpoint of step {wanted:,}, expected one "
                f"of {', '.join(map(str, steps))}. `lateen checkpoints` lists them."
            )
    raise UserError(
        f"{folder.field} is {folder.url!r}: there is neither {CONFIG} of a model in Hugging Face's format nor a "
        "complete checkpoint of lateen. Name the folder that holds one; `lateen checkpoints` lists those of a run."
    )


def _check_same_arrays(field: str, where: str, leaves: list[Leaf], manifest: Manifest, vocab_size: int) -> None:
    layouts = {array: manifest.arrays[array].layout for array in weights_in(manifest).values()}
    held = {array: _unpadded(layout.shape, layout.axes, vocab_size) for array, layout in layouts.items()}
    expected = {leaf.name: _unpadded(leaf.shape, leaf.axes, vocab_size) for leaf in leaves}
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


def _unpadded(shape: Sequence[int], axes: Sequence[str] | None, vocab_size: int) -> list[int]:
    """A shape without what may pad the vocabulary."""
    return [
        min(size, vocab_size) if axis == VOCAB else size
        for size, axis in zip(shape, axes or [""] * len(shape), strict=True)
    ]
