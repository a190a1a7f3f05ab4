"""The README's job, by the README's commands."""

import os
import subprocess
import sys
from pathlib import Path

import documented
import pytest
import yaml

README = Path(__file__).parents[2] / "README.md"
STEPS = 4
"""In place of hundreds: what the job learns is the subject of test_nano.py."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_train_its_job(tmp_path: Path):
    """Buys that a newcomer's first commands work: two processes and four commands, half a minute on two free cores."""
    [job] = [example for example in documented.examples(README) if example.get("kind") == "LMTrainingJob"]
    assert job["spec"]["trainer"]["numTrainSteps"] > STEPS
    job["spec"]["trainer"]["numTrainSteps"] = STEPS
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(("to be or not to be, ", "that is the question: ")):
        (tmp_path / "texts" / f"{number}.txt").write_text(text * 1000)
    (tmp_path / "held-out.txt").write_text("whether it is nobler in the mind to suffer " * 200)
    tool = tmp_path / ".venv" / "bin" / "lateen"
    tool.parent.mkdir(parents=True)
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m lateen_api.cli "$@"\n')
    tool.chmod(0o755)
    said = {}
    for command in documented.commands(README):
        if command.text.startswith(".venv/bin/lateen "):
            arguments = {"cwd": tmp_path, "env": dict(os.environ), "capture_output": True, "text": True, "timeout": 800}
            done = subprocess.run(["bash", "-euc", command.text], check=False, **arguments)
            assert done.returncode == 0, done.stderr
            said[command.text.split()[1]] = done.stdout
    assert list(said) == ["plan", "run", "checkpoints", "generate"]
    assert "Machines" in said["plan"] and "complete" in said["checkpoints"]
    assert len((tmp_path / "runs" / "nano" / "metrics.jsonl").read_text().splitlines()) >= STEPS
    assert said["generate"].strip()
