"""docs/cli.md, generated from the commands and their options: `python -m cli_page`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
from lateen_api.cli import COMMANDS, main

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"

_INTRODUCTION = """# Command line

This page is generated from the code. `lateen --help` and `lateen COMMAND --help` print the same. What a command exits
with is in [exit-codes.md](exit-codes.md).
"""


def page() -> str:
    """The page."""
    parent = click.Context(main, info_name="lateen")
    rows = "".join(f"| [`lateen {name}`](#lateen-{name}) | {summary} |\n" for name, (_, summary) in COMMANDS.items())
    sections = "".join(part for name in COMMANDS for part in _section(main.get_command(parent, name), name, parent))
    return f"{_INTRODUCTION}\n| command | what it does |\n|---|---|\n{rows}{sections}"


def _section(command: click.Command | None, name: str, parent: click.Context) -> Iterator[str]:
    """A command's usage, text and options, then those of its subcommands."""
    assert command is not None, f"lateen {name} is listed, and does not exist"
    context = click.Context(command, info_name=name, parent=parent)
    yield f"\n## {context.command_path}\n\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    if command.epilog:
        yield f"\n{inspect.cleandoc(command.epilog)}\n"
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    yield "\n| option | meaning |\n|---|---|\n"
    yield from (_row(option, context) for option in options if not option.hidden)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _section(command.get_command(context, inner), inner, context)


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None, f"{context.command_path}: {option.name} is hidden"
    flags, meaning = (text.replace("|", "\\|") for text in record)
    # In Markdown `<` begins a tag.
    return f"| `{flags}` | {meaning.replace('<', '&lt;')} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
