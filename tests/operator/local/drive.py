"""`lateen run` with the fake trainer, as a program: for tests that kill it, look at its terminal, or run two of it."""

import sys
from pathlib import Path

from lateen_operator.local.cli import run
from lateen_operator.local.command import Options, run_command

if __name__ == "__main__":
    fake_trainer = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
    parameters = run.make_context("lateen run", sys.argv[1:]).params
    sys.exit(run_command(Options(**parameters), trainer=fake_trainer))
