"""Reads a compiled program (XLA's HLO as text): how often each operation is executed, and on how much.

XLA's own cost analysis counts the body of a loop once, and the step is loops over microbatches and layers. Here every
computation is counted as often as it is called.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lateen_api.plan.compiled import Collective

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation|called_computations|branch_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
_TRIPS = re.compile(r'known_trip_count"?:\s*\{\s*"?n"?:\s*"?(\d+)')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')


@dataclass(frozen=True)
class Instruction:
    """One operation of a computation."""

    name: str
    opcode: str
    shape: str
    """Of the result, as XLA writes it; a tuple in parentheses."""

    operands: tuple[str, ...]
    text: str
    """All behind the opcode."""

    def attribute(self, name: str) -> str:
        """The text of an attribute in braces, such as `lhs_contracting_dims={1}`: `1`; empty if it is not there."""
        match = re.search(rf"\b{name}=\{{([^}}]*)\}}", self.text)
        return match.group(1) if match else ""


@dataclass
class _Computation:
    is_entry: bool
    instructions: dict[str, Instruction] = field(default_factory=dict)


class Program:
    """A compiled program.

    Args:
        text: as `jax.stages.Compiled.as_text()` gives it.
    """

    def __init__(self, text: str):
        self._computations: dict[str, _Computation] = {}
        current: _Computation | None = None
        for line in text.splitlines():
            if match := _INSTRUCTION.match(line):
                if current is not None and (instruction := _instruction(match.group(1), line[match.end() :])):
                    current.instructions[instruction.name] = instruction
            elif match := _COMPUTATION.match(line):
                current = self._computations[match.group(2)] = _Computation(bool(match.group(1)))

    def collectives(self) -> dict[str, Collective]:
        """The collectives by kind, most bytes first."""
        counts, sizes = defaultdict(int), defaultdict(int)
        for times, _, instruction in self._executed():
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                counts[kind] += times
                sizes[kind] += times * _result_bytes(instruction)
        kinds = sorted(counts, key=lambda kind: -sizes[kind])
        return {kind: Collective(count=counts[kind], bytes=sizes[kind]) for kind in kinds}

    def product_flops(self) -> int:
        """FLOPs of matrix products and convolutions (TPUs write products so), a product and a sum counted as two."""
        return sum(times * _flops(inside, instruction) for times, inside, instruction in self._executed())

    def kernels(self) -> dict[str, int]:
        """Calls of kernels and of libraries' functions (cuDNN, cuBLAS), by name; none of what the compiler itself calls
        by the same means, to allot a buffer say."""
        counts: dict[str, int] = defaultdict(int)
        for times, _, instruction in self._executed():
            if instruction.opcode == "custom-call" and (match := _TARGET.search(instruction.text)):
                target = match.group(1)
                if target == "tpu_custom_call":  # written with Pallas; XLA names the operation after the kernel
                    counts[re.sub(r"(\.(\d+|clone|remat\d*))+$", "", instruction.name)] += times
                elif target.startswith("__"):
                    counts[target] += times
        return dict(sorted(counts.items()))

    def _executed(self) -> Iterator[tuple[int, _Computation, Instruction]]:
        """Each operation with how often a device executes it, and the computation in which it is."""
        for name, times in self._times.items():
            computation = self._computations[name]
            for instruction in computation.instructions.values():
                yield times, computation, instruction

    @cached_property
    def _times(self) -> dict[str, int]:
        """How often each computation is executed. Of the branches of a condition each counts as taken."""
        times: dict[str, int] = defaultdict(int)

        def call(name: str, count: int) -> None:
            times[name] += count
            for instruction in self._computations[name].instructions.values():
                trips = self._trips(instruction) if instruction.opcode == "while" else 1
                for group in _CALLED.findall(instruction.text):
                    for called in re.findall(r"[\w.\-]+", group):
                        if called in self._computations:
                            call(called, count * trips)

        for name, computation in self._computations.items():
            if computation.is_entry:
                call(name, 1)
        return times

    def _trips(self, loop: Instruction) -> int:
        """Trips of a loop: as XLA notes them, or from its condition `counter < constant`; 1 where neither is known."""
        if match := _TRIPS.search(loop.text):
            return int(match.group(1))
        match = re.search(r"\bcondition=%?([\w.\-]+)", loop.text)
        condition = self._computations.get(match.group(1)) if match else None
        if condition is None:
            return 1
        limits = [
            int(number.group(1))
            for instruction in condition.instructions.values()
            if instruction.opcode == "constant" and (number := re.match(r"(\d+)\)", instruction.text))
        ]
        return limits[0] if len(limits) == 1 else 1


def _instruction(name: str, text: str) -> Instruction | None:
    end = _balanced(text) if text.startswith("(") else text.find(" ")
    match = _OPCODE.match(text, end)
    if match is None:
        return None
    rest = text[match.end() :]
    operands = rest[: _balanced("(" + rest) - 1]
    return Instruction(name, match.group(1), text[:end], tuple(_NAME.findall(operands)), rest)


def _balanced(text: str) -> int:
    """Index behind the parenthesis that closes the one with which the text begins."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return index + 1
    return len(text)


def _arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """(type, lengths) of the arrays in a shape."""
    return [
        (kind, tuple(int(length) for length in lengths.split(",") if length)) for kind, lengths in _ARRAY.findall(shape)
    ]


def _bytes(kind: str, lengths: tuple[int, ...]) -> int:
    digits = re.search(r"\d+", kind)
    bits = _BITS.get(kind) or (int(digits.group()) if digits else 0)
    return math.prod(lengths) * bits // 8


def _result_bytes(collective: Instruction) -> int:
    """Bytes of a collective's result on a device; what is started lists its operands and context besides."""
    arrays = _arrays(collective.shape)
    # The result of a started one has its operands first; an all-reduce has the shape of its result.
    if collective.opcode.endswith("-start") and collective.opcode != "all-reduce-start":
        operands = len(collective.operands)
        arrays = arrays[operands : 2 * operands] or arrays
    return sum(_bytes(kind, lengths) for kind, lengths in arrays)


def _flops(inside: _Computation, instruction: Instruction) -> int:
    """2 × entries of the result × entries that are summed for each."""
    if instruction.opcode == "dot":
        return _product_flops(inside, instruction, instruction.attribute("lhs_contracting_dims"))
    if instruction.opcode == "custom-call" and (
        match := re.search(r'"lhs_contracting_dimensions":\s*\[([^\]]*)\]', instruction.text)
    ):
        return _product_flops(inside, instruction, match.group(1).replace('"', ""))
    if instruction.opcode == "convolution":
        return _convolution_flops(inside, instruction)
    return 0


def _convolution_flops(inside: _Computation, convolution: Instruction) -> int:
    """Padding is not counted: a product over heads may be written as a convolution whose windows lie in it."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.text)
    operands = [inside.instructions.get(name) for name in convolution.operands]
    if labels is None or len(operands) != 2 or None in operands:
        return 0
    shapes = (*(operand.shape for operand in operands if operand), convolution.shape)
    data, kernel, out = (
        dict(zip(names, _arrays(shape)[0][1], strict=True))
        for names, shape in zip(labels.groups(), shapes, strict=True)
    )
    flops = 2 * out["b"] * out["f"] * kernel["i"]
    for side in (label for label in kernel if label.isdigit()):
        number = int(side)
        stride = _window(convolution.text, "stride", number, 1)[0]
        before = _window(convolution.text, "pad", number, 0)[0]
        apart, spread = (_window(convolution.text, name, number, 1)[0] for name in ("rhs_dilate", "lhs_dilate"))
        places = (o * stride + k * apart - before for o in range(out[side]) for k in range(kernel[side]))
        flops *= sum(0 <= place <= (data[side] - 1) * spread and place % spread == 0 for place in places)
    return flops


def _window(text: str, name: str, number: int, default: int) -> tuple[int, ...]:
    """A figure of one side of a convolution's window: `pad=2_2x0_0` has (2, 2) and (0, 0)."""
    window = re.search(r"window=\{([^}]*)\}", text)
    match = re.search(rf"\b{name}=(\S+)", window.group(1)) if window else None
    return tuple(int(n) for n in match.group(1).split("x")[number].split("_")) if match else (default,)


def _product_flops(inside: _Computation, product: Instruction, contracted: str) -> int:
    left = inside.instructions.get(product.operands[0])
    if left is None:
        return 0
    lengths = _arrays(left.shape)[0][1]
    summed = math.prod(lengths[int(i)] for i in contracted.split(",") if i.strip())
    return 2 * math.prod(_arrays(product.shape)[0][1]) * summed
