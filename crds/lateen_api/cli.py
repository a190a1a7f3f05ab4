"""The command `lateen`. A subcommand's module is imported when it is called, so each costs only what it needs."""

import sys
from importlib import import_module
from typing import Any

import click

from lateen_api import output

COMMANDS = {
    "run": ("lateen_operator.local.cli:run", "Train a job on this machine."),
    "plan": ("lateen_api.commands.plan:plan", "Show what a job would run on, or why it cannot."),
    "report": ("lateen_operator.html_report.cli:report", "Write a run as one HTML page."),
    "status": ("lateen_operator.commands.cli:status", "Show how a job in a cluster is."),
    "logs": ("lateen_operator.commands.cli:logs", "Print what a trainer in a cluster wrote."),
    "stop": ("lateen_operator.commands.cli:stop", "Let a job in a cluster save and free its machines."),
    "resume": ("lateen_operator.commands.cli:resume", "Let a stopped job in a cluster go on."),
    "operator": ("lateen_operator.cluster.cli:operator", "Run the jobs of a cluster."),
    "crd": ("lateen_api.commands.crd:crd", "Print the CustomResourceDefinition."),
    "train": ("lateen_trainer.cli:train", "Be one trainer process (what runs in a pod)."),
    "prepare-data": ("lateen_trainer.cli:prepare_data", "Tokenize a job's text (what runs in a pod of data.prepare)."),
    "export": ("lateen_trainer.hugging_face.cli:export", "Write a checkpoint as a folder that transformers loads."),
    "generate": ("lateen_trainer.inference.cli:generate", "Let a model continue a prompt."),
    "data": ("lateen_trainer.data.cli:data", "Build, inspect and verify the token caches of a job."),
    "tokenizer": ("lateen_trainer.data.tokenizer_cli:tokenizer", "Train a tokenizer on a job's text."),
    "checkpoints": ("lateen_trainer.checkpoint.cli:checkpoints", "List and verify checkpoints."),
}


class _LazyCommands(click.Group):
    """Knows its subcommands by name and loads the one that is called."""

    def main(self, *args: Any, **options: Any) -> Any:
        """The entry point. Streams are made usable first, and no traceback reaches the user."""
        output.prepare()
        arguments = options.get("args") or (args[0] if args else None) or sys.argv[1:]
        output.run_guarded(
            lambda: super(_LazyCommands, self).main(*args, **options), show_tracebacks="operator" in arguments[:1]
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lateen")
def main() -> None:
    """Train language models: on this machine, or on Kubernetes."""


if __name__ == "__main__":
    main()
