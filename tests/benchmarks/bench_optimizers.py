"""AdamW, Sophia-G, Muon and Lion on the nano corpus: steps, seconds and loss, and all losses in one picture.

    python tests/benchmarks/bench_optimizers.py [--steps 560] [--folder DIR] [--write]

Each is a run of docs/examples/nano.yaml by `lateen run`, one after the other, with a learning rate found on that job.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import machine

DOCS = Path(__file__).parents[2] / "docs"
JOB = DOCS / "examples" / "nano.yaml"
DOCUMENT, PICTURE = DOCS / "optimizers.md", DOCS / "optimizers.svg"
BEGIN, END = "<!-- begin table: `make bench-optimizers` writes this -->", "<!-- end table -->"

OPTIMIZERS = {
    "adamw": "{type: adamw, learningRate: 3.0e-3, weightDecay: 0.1, warmup: 0.05}",
    "sophia-g": "{type: sophia-g, learningRate: 2.0e-3, weightDecay: 0.2, warmup: 0.05}",
    "muon": "{type: muon, learningRate: 3.0e-3, weightDecay: 0.1, warmup: 0.05}",
    "lion": "{type: lion, learningRate: 6.0e-4, weightDecay: 0.5, warmup: 0.05}",
}
"""`spec.optimizer` by name."""

COLORS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52")
WIDTH, HEIGHT, MARGIN = 720, 360, 48
SMOOTHED = 20
"""Steps whose mean loss is a point of the picture."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Outcome:
    """What came of one optimizer."""

    steps: int
    seconds: float
    """Of all steps, without evaluation, saving and compilation."""

    cpu_seconds: float
    """Of the whole run, compiling included; that of the first has making the tokens in it. Other work on the machine
    shows in it less."""

    validation_loss: float
    points: Points
    """(step, mean training loss of the steps up to it)"""


def train(optimizer: str, steps: int, folder: Path) -> Outcome:
    """Runs the job with an optimizer, in a folder of its own; its output goes to stderr."""
    settings = (
        *(f"optimizer={optimizer}", f"trainer.numTrainSteps={steps}", f"trainer.stepsPerEval={steps}"),
        f"data.cacheDir={folder.parent / 'tokens'}",
    )
    options = [argument for setting in settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "lateen_api.cli", "run", str(JOB), "--plain", "--run-dir", str(folder), *options]
    before = cpu_seconds()
    subprocess.run(command, check=True, stdout=sys.stderr)
    spent = cpu_seconds() - before
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "loss" in line and "step_seconds" in line]
    # The first step compiles.
    seconds = sum(line["step_seconds"] for line in trained[1:])
    summary = json.loads((folder / "summary.json").read_text())
    points = smoothed([line["loss"] for line in trained])
    return Outcome(len(trained), seconds, spent, summary["validationLoss"], points)


def cpu_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def smoothed(losses: Sequence[float]) -> Points:
    """Means of stretches of equal length, each at its last step."""
    stretches = [losses[start : start + SMOOTHED] for start in range(0, len(losses), SMOOTHED)]
    ends = itertools.accumulate(len(stretch) for stretch in stretches)
    return [(float(end), sum(stretch) / len(stretch)) for end, stretch in zip(ends, stretches, strict=True)]


def picture(outcomes: Mapping[str, Outcome]) -> str:
    """The losses as an SVG: steps to the right, nats per token upwards."""
    every = [point for outcome in outcomes.values() for point in outcome.points]
    most = max(step for step, _ in every)
    low, high = min(loss for _, loss in every), max(loss for _, loss in every)

    def place(step: float, loss: float) -> str:
        x = MARGIN + step / most * (WIDTH - 2 * MARGIN)
        y = MARGIN + (high - loss) / ((high - low) or 1) * (HEIGHT - 2 * MARGIN)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="24">Training loss in nats per token, means of {SMOOTHED} steps</text>',
        f'<text x="4" y="{MARGIN + 4}">{high:.2f}</text><text x="4" y="{HEIGHT - MARGIN + 4}">{low:.2f}</text>',
        f'<text x="{WIDTH - 2 * MARGIN}" y="{HEIGHT - 16}">step {most:.0f}</text>',
    ]
    for number, ((name, outcome), color) in enumerate(zip(outcomes.items(), COLORS, strict=False)):
        line = " ".join(place(*point) for point in outcome.points)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{line}"/>')
        y = MARGIN + 16 * number
        parts.append(f'<text x="{WIDTH - 2 * MARGIN}" y="{y}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def table(outcomes: Mapping[str, Outcome]) -> str:
    """Rows of Markdown."""
    rows = [
        "| optimizer | steps | seconds | ms per step | CPU seconds of the run | training loss | validation loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, outcome in outcomes.items():
        per_step = 1000 * outcome.seconds / max(1, outcome.steps - 1)
        rows.append(
            f"| `{name}` | {outcome.steps} | {outcome.seconds:.0f} | {per_step:.0f} | "
            f"{outcome.cpu_seconds:.0f} | {outcome.points[-1][1]:.3f} | "
            f"{outcome.validation_loss:.3f} |"
        )
    return "\n".join(rows)


def write_document(text: str) -> None:
    """Puts the table, and what it was measured on, between the markers of docs/optimizers.md."""
    before, found_begin, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, found_end, after = rest.partition(END)
    assert found_begin and found_end, f"{DOCUMENT} has no markers {BEGIN} and {END}"
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=560, help="of each run (default: 560, the example's)")
    parser.add_argument("--only", choices=OPTIMIZERS, action="append", help="train with this one; may be repeated")
    parser.add_argument("--write", action="store_true", help="into docs/optimizers.md and docs/optimizers.svg")
    parser.add_argument("--folder", type=Path, help="where the runs go (default: a temporary folder)")
    arguments = parser.parse_args()
    measured_on = machine()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        outcomes = {
            name: train(OPTIMIZERS[name], arguments.steps, folder / name) for name in arguments.only or OPTIMIZERS
        }
    print(table(outcomes))
    if arguments.write:
        PICTURE.write_text(picture(outcomes), encoding="utf-8")
        shown = f"![Training losses of the optimizers]({PICTURE.name})"
        write_document(f"{table(outcomes)}\n\nMeasured on {measured_on}.\n\n{shown}")


if __name__ == "__main__":
    main()
