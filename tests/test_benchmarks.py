"""Every benchmark starts by its target of the Makefile. What they measure is no test's matter."""

import importlib
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


@pytest.mark.parametrize(
    ("family", "flags", "unit"),
    [(26, "avx2 avx512f", "AVX-512"), (25, "sse4_2 avx2", "AVX2"), (6, "sse4_2", "no wide")],
)
def test_figures_name_the_kind_of_cpu(family: int, flags: str, unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    machine = importlib.import_module("machine").machine
    cpuinfo = f"cpu family\t: {family}\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: {flags}\n"
    assert machine(cpuinfo).startswith(f"AMD EPYC (family {family}, model 2), {unit}")


def test_every_benchmark_prints_the_machine_first() -> None:
    for script in (ROOT / "tests" / "benchmarks").glob("bench_*.py"):
        assert "print(machine())" in script.read_text(), script.name
