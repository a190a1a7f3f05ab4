"""The results as tables in docs/reproducibility.md, each between two markers."""

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from reproducibility.cases import FIRST_NUMERICS, OTHER_NUMERICS, Case, Numerics, Scenario, is_tried, layouts, reference
from reproducibility.job import STEPS
from reproducibility.results import Results

DOCUMENT = Path(__file__).parents[2] / "docs" / "reproducibility.md"

BEGIN, END = "<!-- begin {}: `make reproducibility` writes this -->", "<!-- end {} -->"

PARTS = {"layouts and faults": FIRST_NUMERICS, "models and optimizers": OTHER_NUMERICS}
"""What stands between the markers of a name."""

HEADINGS = {
    Scenario.UNDISTURBED: "undisturbed",
    Scenario.STOPPED: "SIGTERM, other width",
    Scenario.KILLED: "SIGKILL in a step",
    Scenario.KILLED_SAVING: "SIGKILL in a save",
    Scenario.RESIZED: "two resizes",
}


def write_table(results: Results) -> None:
    """Replaces what stands between the markers. A part that nothing was run of stays as it is."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        if any(results.read(reference(numerics)) for numerics in part):
            text = _replaced(text, BEGIN.format(name), render(results, part), END.format(name))
    DOCUMENT.write_text(text, encoding="utf-8")


def render(results: Results, part: Sequence[Numerics]) -> str:
    """A table of the numerics, and what its cells are equal to. What nothing was run of is counted below it."""
    blocks = [
        "\n".join(_cells(results, part)),
        _count(results, part) + f" jax {version('jax')}, jaxlib {version('jaxlib')}, CPU devices.",
        f"What each row is equal to (SHA-256, first 16 digits; losses of steps 1 and {STEPS} in nats per token):",
        "\n".join(_references(results, part)),
    ]
    return "\n\n".join(blocks)


def _replaced(text: str, begin: str, new: str, end: str) -> str:
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    assert found_begin and found_end, f"{DOCUMENT} has no markers {begin} and {end}"
    return f"{before}{begin}\n{new}\n{end}{after}"


def _cells(results: Results, part: Sequence[Numerics]) -> Iterator[str]:
    scenarios = [s for s in HEADINGS if any(is_tried(Case(n, place, s)) for n in part for place in layouts(n))]
    yield _row(["model", "optimizer", "with", "type", "TP", "processes", "devices", *(HEADINGS[s] for s in scenarios)])
    yield _row(["---"] * (7 + len(scenarios)))
    for numerics in part:
        for layout in layouts(numerics):
            cases = [Case(numerics, layout, scenario) for scenario in scenarios]
            verdicts = [results.verdict(case) if is_tried(case) else "–" for case in cases]
            if not {"–", "not run"}.issuperset(verdicts):
                yield _row([*_what(numerics), layout.processes, layout.devices, *verdicts])


def _model(numerics: Numerics) -> str:
    """With the data, where that is not one stream of text."""
    return numerics.family if numerics.data == "text" else f"{numerics.family} on {numerics.data}"


def _count(results: Results, part: Sequence[Numerics]) -> str:
    cases = [Case(n, layout, scenario) for n in part for layout in layouts(n) for scenario in Scenario]
    verdicts = [results.verdict(case) for case in cases if is_tried(case)]
    left = verdicts.count("not run")
    compared = [verdict for verdict in verdicts if verdict not in ("reference", "not run")]
    return f"{compared.count('equal')} of {len(compared)} runs are equal to their reference; {left} were not run."


def _references(results: Results, part: Sequence[Numerics]) -> Iterator[str]:
    yield _row(
        [
            *("model", "optimizer", "with", "type", "TP", "first loss", "last loss", "validation loss"),
            *("parameters", "parameters and optimizer"),
        ]
    )
    yield _row(["---"] * 10)
    for numerics in part:
        if results.read(reference(numerics)) is not None:
            yield _row([*_what(numerics), *_reference(results, numerics)])


def _what(numerics: Numerics) -> list[object]:
    return [_model(numerics), numerics.optimizer, numerics.option or "–", numerics.dtype, numerics.tensor]


def _reference(results: Results, numerics: Numerics) -> list[object]:
    result = results.read(reference(numerics))
    if result is None or result.bits is None:
        return ["not run"] * 5
    bits = result.bits
    losses = [bits.losses[0], bits.losses[-1], bits.validation_loss]
    return [*losses, f"`{bits.parameters[:16]}`", f"`{bits.state[:16]}`"]


def _row(cells: list[object]) -> str:
    return f"| {' | '.join(re.sub('[|]', '/', str(cell)) for cell in cells)} |"
