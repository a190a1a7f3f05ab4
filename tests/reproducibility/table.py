"""The results as a table in docs/reproducibility.md, between two markers."""

import itertools
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from reproducibility.cases import ALL_NUMERICS, Case, Numerics, Scenario, layouts, reference
from reproducibility.job import STEPS
from reproducibility.results import Results

DOCUMENT = Path(__file__).parents[2] / "docs" / "reproducibility.md"

BEGIN, END = "<!-- begin: `make reproducibility` writes this -->", "<!-- end -->"

HEADINGS = {
    Scenario.UNDISTURBED: "undisturbed",
    Scenario.STOPPED: "SIGTERM, other width",
    Scenario.KILLED: "SIGKILL in a step",
    Scenario.KILLED_SAVING: "SIGKILL in a save",
    Scenario.RESIZED: "two resizes",
}


def write_table(results: Results) -> None:
    """Replaces what stands between the markers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{DOCUMENT} has no markers {BEGIN} and {END}"
    DOCUMENT.write_text(f"{before}{BEGIN}\n{render(results)}\n{END}{after}", encoding="utf-8")


def render(results: Results) -> str:
    """The table, and what its cells are equal to."""
    blocks = [
        "\n".join(_cells(results)),
        _count(results) + f" jax {version('jax')}, jaxlib {version('jaxlib')}, CPU devices.",
        f"What each row is equal to (SHA-256, first 16 digits; losses of steps 1 and {STEPS} in nats per token):",
        "\n".join(_references(results)),
    ]
    return "\n\n".join(blocks)


def _cells(results: Results) -> Iterator[str]:
    yield _row(["model", "optimizer", "type", "TP", "processes", "devices", *HEADINGS.values()])
    yield _row(["---"] * (6 + len(HEADINGS)))
    for numerics in ALL_NUMERICS:
        for layout in layouts(numerics):
            what = [numerics.family, numerics.optimizer, numerics.dtype, numerics.tensor]
            place = [*what, layout.processes, layout.devices]
            yield _row([*place, *(results.verdict(Case(numerics, layout, scenario)) for scenario in HEADINGS)])


def _count(results: Results) -> str:
    verdicts = [
        results.verdict(Case(numerics, layout, scenario))
        for numerics in ALL_NUMERICS
        for layout, scenario in itertools.product(layouts(numerics), Scenario)
    ]
    left = verdicts.count("not run")
    compared = [verdict for verdict in verdicts if verdict not in ("reference", "not run")]
    return f"{compared.count('equal')} of {len(compared)} runs are equal to their reference; {left} were not run."


def _references(results: Results) -> Iterator[str]:
    yield _row(
        [
            *("model", "optimizer", "type", "TP", "first loss", "last loss", "validation loss"),
            *("parameters", "parameters and optimizer"),
        ]
    )
    yield _row(["---"] * 9)
    for numerics in ALL_NUMERICS:
        yield _row(
            [numerics.family, numerics.optimizer, numerics.dtype, numerics.tensor, *_reference(results, numerics)]
        )


def _reference(results: Results, numerics: Numerics) -> list[object]:
    result = results.read(reference(numerics))
    if result is None or result.bits is None:
        return ["not run"] * 5
    bits = result.bits
    losses = [bits.losses[0], bits.losses[-1], bits.validation_loss]
    return [*losses, f"`{bits.parameters[:16]}`", f"`{bits.state[:16]}`"]


def _row(cells: list[object]) -> str:
    return f"| {' | '.join(re.sub('[|]', '/', str(cell)) for cell in cells)} |"
