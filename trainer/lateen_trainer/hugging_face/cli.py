"""`lateen export`: a checkpoint as a folder that transformers loads."""

import sys
from pathlib import Path
from typing import Any

import click
from lateen_api.errors import JobError
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.outcome import ExitCode
from lateen_api.spec import ExportSpec

from lateen_trainer.errors import TrainerError, UserError

_FIELD = "CHECKPOINT"


@click.command()
@click.argument("checkpoint")
@click.argument("folder")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Type of the tensors. Default: that of an imported model, or else of the parameters.",
)
@click.option(
    "--file-megabytes",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Most megabytes in a file of weights.",
)
@click.option(
    "--lora",
    type=click.Choice(["adapter", "merged"]),
    help="Of a run with trainer.lora: the adapters alone, for peft, or the model with them. Default: adapter.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Read the folder back, and compare its logits with those of transformers, which needs torch.",
)
def export(
    checkpoint: str, folder: str, dtype: str | None, file_megabytes: int, lora: str | None, verify: bool
) -> None:
    """Write CHECKPOINT as a model in Hugging Face's format into FOLDER, which must be empty or new.

    CHECKPOINT is the folder of a run's checkpoints (then the newest is taken), or of one step in it; a path or gs://
    URL. The parameters must fit into this machine's memory. A run exports over all of its machines: spec.export.
    """
    try:
        spec = ExportSpec.model_validate({"dtype": dtype, "fileMegabytes": file_megabytes, "lora": lora})
        shown = _export(checkpoint, folder, spec, verify=verify)
    except TrainerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(int(error.exit_code))
    except JobError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(ExitCode.USER_ERROR)
    click.echo(shown)


def _export(checkpoint: str, folder: str, spec: ExportSpec, *, verify: bool) -> str:
    import jax

    # The parameters are only moved: a GPU may be too small for them, and busy.
    jax.config.update("jax_platforms", "cpu")

    from lateen_trainer.hugging_face.about import AboutRun
    from lateen_trainer.hugging_face.destination import Destination
    from lateen_trainer.hugging_face.exports import Facts, write_model
    from lateen_trainer.hugging_face.initial import find_checkpoint

    checkpoints, manifest = find_checkpoint(ModelFolder(checkpoint, _FIELD))
    where = checkpoints.where(manifest.step)
    about = AboutRun.from_metadata(manifest.metadata, where)
    destination = Destination(folder, field="FOLDER")
    if names := destination.names():
        raise UserError(f"{folder} holds {names[0]}: expected an empty folder, or a new one. Name another.")
    _check_lora(about, spec, where, verify=verify)
    model = _read_model(about, checkpoints, manifest)
    facts = Facts(manifest.step, {"Training": manifest.metadata.get("trainLoss")}, manifest.metadata.get("madeBy", {}))
    write_model(model, about, facts, destination, spec)
    told = f"{folder}: step {manifest.step:,} of {about.job}, {about.parameters:,} parameters"
    if verify:
        from lateen_trainer.hugging_face.verify import verify_folder
        from lateen_trainer.models.lora import merged

        told += f"\n{verify_folder(Path(folder), about.model, merged(model))}"
    return told


def _check_lora(about: Any, spec: ExportSpec, where: str, *, verify: bool) -> None:
    """What is asked for that there is not, or cannot be verified."""
    if about.lora is None and spec.lora is not None:
        raise UserError(f"--lora is {spec.lora}, and {where} was trained without trainer.lora. Leave it out.")
    if about.lora is not None and spec.lora != "merged" and verify:
        raise UserError(
            "--verify computes with a whole model, and adapters are none: expected --lora merged beside it."
        )


def _read_model(about: Any, checkpoints: Any, manifest: Any) -> Any:
    """The model of a checkpoint, on this machine, with its adapters if it has some."""
    import jax

    from lateen_trainer.checkpoint.state import named_leaves
    from lateen_trainer.hugging_face.initial import read_model_arrays
    from lateen_trainer.models.families import init_model, make_config
    from lateen_trainer.models.lora import LoraModel

    config = make_config(about.model, about.vocab_size)

    def make_model() -> Any:
        key = jax.random.key(0)
        base = init_model(config, key=key)
        return base if about.lora is None else LoraModel.init(base, about.lora, key=key)

    shapes = jax.eval_shape(make_model)
    leaves = named_leaves(shapes)
    arrays = read_model_arrays(checkpoints, manifest, leaves, field=_FIELD, averages=about.averages)
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)
