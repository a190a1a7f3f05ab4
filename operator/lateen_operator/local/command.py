"""What `lateen run` does, from the job's file to the exit code."""

import errno
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen_api import os_errors
from lateen_api.environment import HUGE_PAGES
from lateen_api.errors import JobError
from lateen_api.hugging_face.initial_model import with_initial_model
from lateen_api.load import load_job
from lateen_api.masking import masked, masked_assignment
from lateen_api.output import ESCAPED, OutputError
from lateen_api.plan.table import plan_table
from lateen_api.spec import LMTrainingJob
from lateen_api.termination import ExitCode
from rich.console import Console
from rich.text import Text

from lateen_operator import wording
from lateen_operator.attempts import Fail, Finish
from lateen_operator.local import ledger, report
from lateen_operator.local.detachable import DetachableDisplay
from lateen_operator.local.folder import ELSEWHERE, RunFolder, move_aside, read_json, write_json
from lateen_operator.local.plain import PlainDisplay
from lateen_operator.local.prepare import (
    Prepared,
    check_disk,
    check_fresh,
    check_same_run,
    cores_of_machine,
    prepare,
)
from lateen_operator.local.result import from_older, is_complete, make_result, write_result
from lateen_operator.local.running import Launch
from lateen_operator.local.supervisor import TRAINER, RunResult, Supervisor
from lateen_operator.local.terminal import TerminalDisplay
from lateen_operator.local.view import Display

# Output at once into the log, and a traceback there when C code crashes.
_TRAINER_ENVIRON = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


@dataclass(frozen=True)
class Options:
    """The command line."""

    job: Path
    hosts: int | None = None
    run_dir: Path | None = None
    overrides: tuple[str, ...] = ()
    fresh: bool = False
    dry_run: bool = False
    plain: bool = False

    def again(self) -> str:
        """The command that goes on with the run; secrets in it are masked, and to be put in again."""
        words = ["lateen", "run", str(self.job)]
        words += [] if self.hosts is None else ["--hosts", str(self.hosts)]
        words += [] if self.run_dir is None else ["--run-dir", str(self.run_dir)]
        for override in self.overrides:
            words += ["--set", masked_assignment(override)]
        return shlex.join(words)


class Consoles:
    """Where output goes: results and progress to `out`, what went wrong to `err`.

    Args:
        plain: plain lines also on a terminal.
    """

    def __init__(self, plain: bool):
        self.is_live = not plain and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.out = _console(sys.stdout, plain)
        self.err = _console(sys.stderr, plain)

    def display(self) -> Display:
        """A live display at a terminal, plain lines otherwise."""
        if self.is_live:
            return DetachableDisplay(TerminalDisplay(self.out, time.monotonic))
        return DetachableDisplay(PlainDisplay(lambda line: print(line, flush=True)))

    def tell(self, text: Text) -> None:
        """Lines on stdout that nothing depends on: when nobody reads them, the command goes on."""
        try:
            self.out.print(text, soft_wrap=True)
            self.out.file.flush()
        except OSError:
            _silence(sys.stdout)

    def error(self, error: Exception) -> None:
        """One mistake a line, on stderr."""
        lines = error.errors if isinstance(error, JobError) else (error,)
        for line in lines:
            self.err.print(Text("error: ", "bold red") + Text(wording.printable(str(line))), soft_wrap=True)

    def warning(self, message: str) -> None:
        """A line on stderr."""
        self.err.print(Text("warning: ", "yellow") + Text(wording.printable(message)), soft_wrap=True)


def run_command(options: Options, *, trainer: tuple[str, ...] = TRAINER) -> int:
    """Runs the command; returns its exit code.

    Args:
        options: the command line.
        trainer: the command that is started for each process.
    """
    consoles = Consoles(options.plain)
    try:
        return _run(options, consoles, trainer)
    except JobError as error:
        consoles.error(error)
        return error.exit_code
    except OutputError:
        raise
    except OSError as error:
        consoles.error(_told(error))
        return os_errors.exit_code(error)


def _told(error: OSError) -> Exception:
    """The error with its cause and what to do, for people."""
    return RuntimeError(masked(os_errors.explain(error, elsewhere=ELSEWHERE)))


def _run(options: Options, consoles: Consoles, trainer: tuple[str, ...]) -> int:
    job = with_initial_model(load_job(options.job, options.overrides))
    folder = RunFolder((options.run_dir or Path("runs") / job.metadata.name).absolute())
    folder.check_name()
    stored = None if options.fresh else read_json(folder.job)
    prepared = prepare(job, folder, hosts=options.hosts, cores=cores_of_machine(), environ=os.environ, stored=stored)
    check_same_run(stored, prepared, folder)
    if options.fresh:
        check_fresh(prepared, read_json(folder.job), folder)
    # A plan shows its own warnings.
    for warning in [*([] if options.dry_run else prepared.plan.warnings), *prepared.warnings]:
        consoles.warning(warning)
    if options.dry_run:
        return _dry_run(prepared, folder, consoles)
    check_disk(prepared, folder)
    if options.fresh:
        _put_aside(folder, consoles)
    folder.create()
    with folder.lock() as lock:
        if is_complete(read_json(folder.result), job.spec.trainer.num_train_steps):
            return _say_complete(folder, consoles)
        with folder.reserve():
            return _train(options, consoles, prepared, folder, trainer, lock)


def _train(
    options: Options, consoles: Consoles, prepared: Prepared, folder: RunFolder, trainer: tuple[str, ...], lock: int
) -> int:
    job = prepared.job
    write_json(folder.job, prepared.resolved(), private=True)
    defaults = HUGE_PAGES if prepared.plan.accelerator_kind == "cpu" else {}
    supervisor = Supervisor(
        name=job.metadata.name,
        where=prepared.where,
        launch=Launch(
            folder=folder,
            hosts=prepared.plan.processes,
            command=trainer,
            environ={**defaults, **os.environ, **_TRAINER_ENVIRON, **job.spec.compute.env},
            host_environ=prepared.host_environ,
            inherit=(lock,),
        ),
        recovery=job.spec.recovery,
        display=consoles.display(),
        earlier=ledger.read(folder),
    )
    run_result = supervisor.run()
    result = make_result(job, folder, run_result)
    try:
        write_result(job, folder, result)
    except OSError as error:
        # What was found out is told all the same.
        _print_result(options, consoles, job, folder, run_result, result)
        consoles.error(_told(error))
        return run_result.exit_code or os_errors.exit_code(error)
    _print_result(options, consoles, job, folder, run_result, result)
    return run_result.exit_code


def _print_result(
    options: Options,
    consoles: Consoles,
    job: LMTrainingJob,
    folder: RunFolder,
    run_result: RunResult,
    result: dict[str, Any],
) -> None:
    try:
        match run_result.decision:
            case Finish():
                report.print_complete(consoles.out, result, job, folder)
            case Fail() as given_up:
                report.print_failed(consoles.err, given_up, run_result.attempts, folder, options.again())
            case _:
                for line in report.stopped_text(run_result.attempts, options.again()).splitlines():
                    consoles.out.print(Text(line), soft_wrap=True)
        sys.stdout.flush()
    except OSError:
        # The terminal is closed, or the pipe's reader has left. The same stands in result.json, so that is no failure.
        _silence(sys.stdout)


def _silence(stream: Any) -> None:
    """What is still in the buffer goes where Python's own flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say_complete(folder: RunFolder, consoles: Consoles) -> int:
    result = from_older(read_json(folder.result) or {})
    consoles.tell(
        Text(
            f"{result.get('name')} is complete already: {wording.count(result.get('step', 0), 'step')}, validation "
            f"loss {wording.loss(result.get('validationLoss'))}; see {wording.shown(folder.result)}\n"
            "to train it again: --fresh"
        )
    )
    return ExitCode.DONE


def _dry_run(prepared: Prepared, folder: RunFolder, consoles: Consoles) -> int:
    consoles.out.print(plan_table(prepared.job, prepared.plan))
    consoles.out.print(Text(f"\nwould run as {prepared.where} in {wording.shown(folder.path)}"), soft_wrap=True)
    return ExitCode.DONE


def _put_aside(folder: RunFolder, consoles: Consoles) -> None:
    """Renames the folder of an earlier run, unless that still runs."""
    if folder.path.exists():
        with folder.lock():
            aside = move_aside(folder.path)
        consoles.tell(Text(f"the earlier run is in {wording.shown(aside)} now"))


class _PatientConsole(Console):
    """Without rich's way of ending the program when a pipe's reader has left: the training goes on."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")


def _console(stream: Any, plain: bool) -> Console:
    # A locale that cannot write × or – gets a question mark instead of an exception.
    reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
    if reconfigure and stream.errors != ESCAPED:
        reconfigure(errors="replace")
    if plain or not stream.isatty():
        return _PatientConsole(file=stream, force_terminal=False, color_system=None, highlight=False)
    return _PatientConsole(file=stream, highlight=False)
