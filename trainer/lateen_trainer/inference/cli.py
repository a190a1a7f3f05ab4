"""`lateen generate`: a model continues a prompt, or answers it."""

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from lateen_api.escaping import printable

from lateen_trainer.command_errors import exit_codes


class _Number(click.FloatRange):
    """A number in a range, which NaN and infinity are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


@click.command()
@click.argument("model")
@click.option("--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "--prompt-file",
    type=click.File("rb"),
    metavar="FILE",
    help="A file with the text to continue; - is standard input.",
)
@click.option("--chat", is_flag=True, help="The prompt is a message: put it into the tokenizer's chat template.")
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens to write. Default: 200, or as many as fit into the model's context.",
)
@click.option(
    "--temperature",
    type=_Number(min=0),
    metavar="T",
    default=0.8,
    show_default=True,
    help="Less is more cautious; 1 is the model's own distribution, 0 always takes the likeliest token.",
)
@click.option(
    "--top-p",
    type=_Number(min=0, max=1, min_open=True),
    metavar="P",
    default=1.0,
    show_default=True,
    help="Draw from the likeliest tokens that have this probability together.",
)
@click.option("--top-k", type=click.IntRange(min=1), metavar="K", help="Draw from the K likeliest tokens.")
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**31 - 1),
    metavar="S",
    default=0,
    show_default=True,
    help="The same seed gives the same text on the same kind of machine.",
)
@click.option(
    "--num-samples",
    type=click.IntRange(min=1, max=1024),
    metavar="N",
    default=1,
    show_default=True,
    help="Continuations of the prompt, computed at once. A single one is printed while it comes.",
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End where this text comes. May be repeated.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Type of the parameters, the computation and the cache.",
)
@click.option(
    "--tokenizer", metavar="NAME", help="Another tokenizer than the model's own: as spec.data.tokenizer of a job."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, with tokens and why each text ended.")
def generate(model: str, prompt: str | None, prompt_file: Any, as_json: bool, **options: Any) -> None:
    """Let MODEL continue a prompt.

    MODEL is the folder of a run's checkpoints (then the newest is taken) or of one step in it, or a model in Hugging
    Face's format: a path, a gs:// or https:// URL of a folder, or hf://org/name@revision. It must fit into the memory
    of one device.

    The text goes to standard output, and nothing else does.
    """
    with exit_codes():
        text = _prompt(prompt, prompt_file)
        if any(not stop for stop in options["stops"]):
            raise click.UsageError("--stop is empty: expected a text.")
        _generate(model, text, as_json=as_json, **options)


def _prompt(prompt: str | None, prompt_file: Any) -> str:
    if (prompt is None) == (prompt_file is None):
        raise click.UsageError("expected --prompt TEXT or --prompt-file FILE, one of them.")
    if prompt is not None:
        return prompt
    try:
        return prompt_file.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--prompt-file {prompt_file.name} is not UTF-8: {error}.") from error


def _generate(url: str, prompt: str, *, chat: bool, seed: int, num_samples: int, as_json: bool, **options: Any) -> None:
    import jax

    from lateen_trainer.generate.sampling import Sampling
    from lateen_trainer.inference.continuation import Request, continuations, tokens_to_write
    from lateen_trainer.inference.prompt import chat_tokens, prompt_tokens
    from lateen_trainer.inference.source import load_source
    from lateen_trainer.processes.program_cache import keep_compiled_programs

    keep_compiled_programs()
    with tempfile.TemporaryDirectory(prefix="lateen-tokenizer-") as scratch:
        source = load_source(url, options["tokenizer"], options["dtype"], Path(scratch))
        tokens = (chat_tokens if chat else prompt_tokens)(source, prompt)
    request = Request(
        tokens,
        tokens_to_write(source, tokens, options["max_tokens"]),
        Sampling(options["temperature"], options["top_k"], options["top_p"]),
        num_samples,
        options["stops"],
    )
    show = _show if num_samples == 1 and not as_json else lambda text: None
    samples = continuations(source, request, jax.random.key(seed), show)
    if as_json:
        document = {"model": url, "prompt": prompt, "promptTokens": len(tokens), "seed": seed}
        click.echo(json.dumps({**document, "samples": [sample.to_json() for sample in samples]}, indent=2))
    elif num_samples == 1:
        click.echo()
    else:
        for number, sample in enumerate(samples):
            click.echo(f"--- {number + 1} of {num_samples}")
            _show(sample.text + "\n")


def _show(text: str) -> None:
    """Prints a part of the text at once. What a model writes must not steer a terminal."""
    if sys.stdout.isatty():
        text = "\t".join(map(printable, text.split("\t")))
    sys.stdout.write(text)
    sys.stdout.flush()
