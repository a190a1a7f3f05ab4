"""What is tried: layouts, numerics and scenarios, and which of them go together."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, order=True)
class Layout:
    """On what a job runs."""

    processes: int
    devices: int
    """Of all processes together."""

    @property
    def devices_per_process(self) -> int:
        return self.devices // self.processes

    def __str__(self) -> str:
        return f"{self.processes}x{self.devices}"


@dataclass(frozen=True, order=True)
class Numerics:
    """What a job computes with. Runs of one Numerics must agree; those of two need not."""

    dtype: str
    """Of activations and products."""

    tensor: int
    """Devices that share a layer."""

    family: str = "gpt2"
    """`spec.model.type`."""

    optimizer: str = "adamw"
    """`spec.optimizer.type`."""

    option: str = ""
    """What `spec.trainer` has besides: `lora`, `ema` or parameters in bfloat16; empty: none of these."""

    data: str = "text"
    """What it is trained on: `job.DATA`."""

    def __str__(self) -> str:
        # Results that are kept from before there was a choice are those of GPT-2, AdamW and text.
        named = (self.family, self.optimizer, self.option, self.data)
        others = [name for name in named if name not in ("gpt2", "adamw", "", "text")]
        return "-".join([self.dtype, f"tp{self.tensor}", *others])


class Scenario(StrEnum):
    """What happens to a run on its way."""

    UNDISTURBED = "undisturbed"
    STOPPED = "stopped"
    """SIGTERM to all processes; resumed on another number of devices."""

    KILLED = "killed"
    """SIGKILL to one process in the middle of a step; all start again."""

    KILLED_SAVING = "killed-saving"
    """SIGKILL to one process in the middle of a save; all start again."""

    RESIZED = "resized"
    """Resized twice."""


@dataclass(frozen=True, order=True)
class Case:
    """One run, and one cell of the table."""

    numerics: Numerics
    layout: Layout
    """Where the run begins."""

    scenario: Scenario

    def __str__(self) -> str:
        return f"{self.numerics}-{self.layout}-{self.scenario}"


BFLOAT16_PARAMETERS = "bfloat16-parameters"

DTYPES, TENSORS = ("float32", "bfloat16"), (1, 2)

FIRST_NUMERICS = tuple(Numerics(dtype, tensor) for dtype in DTYPES for tensor in TENSORS)
"""Of GPT-2 and AdamW, which go through all faults on all layouts."""

OTHERS = (
    ("llama", "adamw"),
    ("gpt2", "sophia-h"),
    ("gpt2", "sophia-g"),
    ("gpt2", "lion"),
    ("gpt2", "adafactor"),
    ("gpt2", "muon"),
    ("llama", "adamw", "lora"),
    ("gpt2", "adamw", "ema"),
    ("gpt2", "adamw", BFLOAT16_PARAMETERS),
    ("gpt2", "adamw", "", "documents"),
    ("llama", "adamw", "", "mixture"),
    ("gpt2", "adamw", "", "window"),
)
"""Further families, optimizers, options and data. What faults do to a run does not depend on them: few layouts and one
fault do."""

OTHER_NUMERICS = tuple(Numerics(dtype, tensor, *other) for other in OTHERS for dtype in DTYPES for tensor in TENSORS)

LAYOUTS = tuple(
    Layout(*numbers) for numbers in ((1, 1), (1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (2, 8), (4, 4), (4, 8))
)
"""Every process has as many devices as the others; the first is one device alone, the step that XLA could most easily
make another program of."""

NEXT = {
    Layout(1, 1): Layout(4, 8),
    Layout(1, 2): Layout(2, 4),
    Layout(1, 4): Layout(2, 8),
    Layout(1, 8): Layout(2, 2),
    Layout(2, 2): Layout(4, 4),
    Layout(2, 4): Layout(1, 2),
    Layout(2, 8): Layout(1, 4),
    Layout(4, 4): Layout(1, 8),
    Layout(4, 8): Layout(2, 2),
}
"""Where a run that stops on a layout goes on: with another number of processes, and another of devices."""

REFERENCE = Layout(1, 2)
"""Whose undisturbed run all others are compared with."""


OTHER_LAYOUTS = (Layout(1, 1), REFERENCE, Layout(1, 8), Layout(2, 4))
"""Of `OTHER_NUMERICS`: one device alone, several, the most, and two processes."""


def layouts(numerics: Numerics) -> list[Layout]:
    """Where a job with these numerics is tried, of the layouts that it can run on."""
    places = OTHER_LAYOUTS if numerics in OTHER_NUMERICS else LAYOUTS
    return [layout for layout in places if layout.devices >= numerics.tensor]


def is_tried(case: Case) -> bool:
    """Is the case one of those that `all_cases` gives, on a layout of its numerics?"""
    if case.numerics in FIRST_NUMERICS or case.scenario is Scenario.UNDISTURBED:
        return True
    return (case.layout, case.scenario) == (REFERENCE, Scenario.STOPPED)


def reference(numerics: Numerics) -> Case:
    """The run that all others with these numerics must be equal to."""
    return Case(numerics, REFERENCE, Scenario.UNDISTURBED)


def route(case: Case) -> list[Layout]:
    """The layouts of a case's attempts."""
    start = case.layout
    match case.scenario:
        case Scenario.UNDISTURBED:
            return [start]
        case Scenario.STOPPED:
            return [start, NEXT[start]]
        case Scenario.KILLED | Scenario.KILLED_SAVING:
            return [start, start]
        case Scenario.RESIZED:
            return [start, NEXT[start], NEXT[NEXT[start]]]


def all_cases() -> Iterator[Case]:
    """All cases, the references first, then every undisturbed run of their numerics."""
    for numerics in (*FIRST_NUMERICS, *OTHER_NUMERICS):
        for scenario in Scenario:
            places = layouts(numerics)
            if scenario is Scenario.UNDISTURBED:
                places.sort(key=lambda layout: layout != REFERENCE)
            cases = (Case(numerics, layout, scenario) for layout in places)
            yield from filter(is_tried, cases)
