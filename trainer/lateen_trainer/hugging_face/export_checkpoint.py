"""A checkpoint as a folder that transformers loads, on one machine and in bounded memory."""

from dataclasses import dataclass, replace

from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec import ExportSpec

from lateen_trainer import storage
from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.digest import DamagedError
from lateen_trainer.errors import CorruptCheckpointError, TrainerError, UserError
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.card import model_card
from lateen_trainer.hugging_face.checkpoint_blocks import CheckpointBlocks
from lateen_trainer.hugging_face.checkpoint_model import read_checkpoint_model
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import export_leaves
from lateen_trainer.hugging_face.exports import Facts, exported, file_bytes, write_model
from lateen_trainer.hugging_face.initial import find_checkpoint, weights_in
from lateen_trainer.hugging_face.verify import verify_folder
from lateen_trainer.models.lora import merged

SOURCE, TARGET = "CHECKPOINT", "FOLDER"
"""What messages call the two arguments."""


@dataclass(frozen=True)
class ExportOptions:
    """What may be chosen of an export."""

    spec: ExportSpec
    """What a job can choose, too."""

    step: int | None = None
    """None: the newest."""

    tokenizer: str | None = None
    """None: the run's."""

    overwrite: bool = False
    """Replace a model in the folder."""


def export_checkpoint(checkpoint: str, folder: str, options: ExportOptions, *, verify: bool = False) -> str:
    """Exports a checkpoint, and says what was done.

    Memory holds the chunks of `checkpoint_blocks.CACHE_BYTES` and a few blocks of tensors, but for `verify`.

    Args:
        checkpoint: folder of checkpoints, or of one of them.
        folder: where the model goes, a path or URL.
        options: how.
        verify: read the model back and compare it with that of transformers; the folder is on this machine.

    Raises:
        UserError: there is no such checkpoint, or the folder holds something.
        CorruptCheckpointError: the checkpoint is damaged.
        TrainerError: a place cannot be reached, or the model that was read back is another.
    """
    local = storage.local_path(folder)
    if verify and local is None:
        raise UserError(f"{TARGET} is {folder!r}: --verify reads a folder of this machine. Name one, or leave it out.")
    checkpoints, manifest = find_checkpoint(ModelFolder(checkpoint, SOURCE), options.step)
    where = checkpoints.where(manifest.step)
    about = _with_tokenizer(AboutRun.from_metadata(manifest.metadata, where), options.tokenizer)
    _check_lora(about, options, where, verify=verify)
    destination = Destination(folder, field=TARGET)
    destination.check_writable()
    _check_free(destination, options.overwrite)
    facts = Facts(manifest.step, {"Training": manifest.metadata.get("trainLoss")}, manifest.metadata.get("madeBy", {}))
    try:
        if about.lora is None:
            _export_blocks(about, checkpoints, manifest, facts, destination, options)
        else:
            model = read_checkpoint_model(about, checkpoints, manifest, field=SOURCE)
            write_model(model, about, facts, destination, options.spec)
    except DamagedError as error:
        raise CorruptCheckpointError(f"{SOURCE}: {where} is corrupt: {error}. Name another checkpoint.") from error
    except OSError as error:
        raise TrainerError(f"{SOURCE}: {where} cannot be exported to {folder}: {error}") from error
    told = f"{folder}: step {manifest.step:,} of {about.job}, {about.parameters:,} parameters"
    if verify:
        assert local is not None
        model = merged(read_checkpoint_model(about, checkpoints, manifest, field=SOURCE))
        told += f"\n{verify_folder(local, about.model, model)}"
    return told


def _export_blocks(
    about: AboutRun,
    checkpoints: CheckpointFolder,
    manifest: Manifest,
    facts: Facts,
    destination: Destination,
    options: ExportOptions,
) -> None:
    """Exports a whole model, which need not fit into memory."""
    card = model_card(about, step=facts.step, results=facts.losses, made_by=facts.made_by)
    blocks = CheckpointBlocks(checkpoints.kvstore(manifest.step), manifest, weights_in(manifest))
    whole = exported(about, card, options.spec.dtype)
    export_leaves(blocks.leaves(), whole, destination, file_bytes=file_bytes(options.spec), blocks=blocks)


def _check_lora(about: AboutRun, options: ExportOptions, where: str, *, verify: bool) -> None:
    """What is asked for that there is not, or cannot be verified."""
    if about.lora is None and options.spec.lora is not None:
        raise UserError(f"--lora is {options.spec.lora}, and {where} was trained without trainer.lora. Leave it out.")
    if about.lora is not None and options.spec.lora != "merged" and verify:
        raise UserError(
            "--verify computes with a whole model, and adapters are none: expected --lora merged beside it."
        )


def _with_tokenizer(about: AboutRun, name: str | None) -> AboutRun:
    if name is None:
        return about
    tokenizer = load_tokenizer(name)
    if tokenizer.vocab_size > about.vocab_size:
        raise UserError(
            f"--tokenizer {name} has {tokenizer.vocab_size:,} entries, and the model {about.vocab_size:,}: expected at "
            "most as many. Name the tokenizer that the model was trained with."
        )
    return replace(about, tokenizer=name, end_of_text=tokenizer.eos_id)


def _check_free(destination: Destination, overwrite: bool) -> None:
    names = destination.names()
    if not names or (overwrite and destination.has_model()):
        return
    remedy = "Name another." if overwrite else "Name another, or replace a model there with --overwrite."
    expected = "a model, an empty folder, or a new one" if overwrite else "an empty folder, or a new one"
    raise UserError(f"{destination.url} holds {names[0]}: expected {expected}. {remedy}")
