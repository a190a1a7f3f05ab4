"""Every benchmark starts by its target of the Makefile. What they measure is no test's matter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = re.findall(r"^(bench-[a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_benchmark_has_a_target() -> None:
    scripts = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert {target.replace("-", "_") for target in TARGETS} == scripts


@pytest.mark.parametrize("target", TARGETS)
def test_a_benchmark_starts(target: str) -> None:
    recipe = subprocess.run(
        ["make", "--no-print-directory", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    command = recipe.splitlines()[-1].replace(".venv/bin/python", sys.executable)
    shown = subprocess.run(f"{command} --help", shell=True, cwd=ROOT, check=False, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "usage:" in shown.stdout
