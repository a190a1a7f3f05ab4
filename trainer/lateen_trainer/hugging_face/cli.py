"""`lateen export`: a checkpoint as a folder that transformers loads."""

import click
from lateen_api.spec import ExportSpec

from lateen_trainer.command_errors import exit_codes


@click.command()
@click.argument("checkpoint")
@click.argument("folder")
@click.option("--step", type=click.IntRange(min=0), help="Take the checkpoint of this step. Default: the newest.")
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
    "--tokenizer",
    help="Write the files of this tokenizer: a name on the hub, a folder or a tokenizer.json. Default: the run's.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that FOLDER holds. Other files in it stay.")
@click.option(
    "--lora",
    type=click.Choice(["adapter", "merged"]),
    help="Of a run with trainer.lora: the adapters alone, for peft, or the model with them, which has to fit into "
    "memory. Default: adapter.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Read the folder back, and compare its logits with those of transformers, which needs torch, and memory for "
    "the model.",
)
def export(
    checkpoint: str,
    folder: str,
    step: int | None,
    dtype: str | None,
    file_megabytes: int,
    tokenizer: str | None,
    overwrite: bool,
    lora: str | None,
    verify: bool,
) -> None:
    """Write CHECKPOINT as a model in Hugging Face's format into FOLDER, which must be empty or new.

    CHECKPOINT is the folder of a run's checkpoints (then the newest is taken), or of one step in it; a path or gs://
    URL. FOLDER is a path or URL. Tensors go from one to the other in blocks: the model need not fit into memory. A run
    exports over all of its machines: spec.export.
    """
    import jax

    # Arrays are only moved: a GPU may be too small for them, and busy.
    jax.config.update("jax_platforms", "cpu")

    from lateen_trainer.hugging_face.export_checkpoint import ExportOptions, export_checkpoint

    with exit_codes():
        spec = ExportSpec.model_validate({"dtype": dtype, "fileMegabytes": file_megabytes, "lora": lora})
        chosen = ExportOptions(spec, step, tokenizer, overwrite)
        shown = export_checkpoint(checkpoint, folder, chosen, verify=verify)
    click.echo(shown)
