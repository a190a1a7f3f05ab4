"""How the arrays of a model lie in the tensors of transformers: the form in which each family states it.

The map of a family is a table of our arrays, each with a line of text:

    "blocks.blocks.attn.c_attn.weight": "transformer.h.{layers}.attn.c_attn.weight [embed (qkv heads head_size)]"

It reads: layer i of the array is the tensor `transformer.h.i.attn.c_attn.weight`, whose first dimension is our axis
`embed` and whose second one is `qkv`, `heads` and `head_size` flattened in this order. So a line says all there is:

- stacked over layers: `{layers}` in the name; a tensor per index of that axis;
- separate tensors for what is one array here: `{qkv=q_proj|k_proj|v_proj}`, by the words of that axis;
- transposed: the dimensions in transformers' order, whatever the order of our axes;
- fused or grouped: several axes of ours in one dimension, in parentheses.

Axes that the array lacks count as axes of size 1, as the group of a model without grouped heads does.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<name>\S+) \[(?P<dimensions>[^]]*)\]")
_DIMENSION = re.compile(r"\(([^)]*)\)|(\S+)")
_IN_NAME = re.compile(r"\{(\w+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class ArrayTensors:
    """One array of ours, as tensors of transformers."""

    name: str
    """Of the tensors, with the axes that are in it in braces."""

    dimensions: tuple[tuple[str, ...], ...]
    """Of a tensor; the axes of ours that each consists of."""

    @staticmethod
    def parse(line: str) -> "ArrayTensors":
        """Reads a line of a map.

        Raises:
            ValueError: it is none.
        """
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line!r}: expected the name of a tensor and its dimensions in brackets")
        dimensions = [tuple((one or many).split()) for many, one in _DIMENSION.findall(match["dimensions"])]
        return ArrayTensors(match["name"], tuple(dimensions))

    @property
    def axes_in_name(self) -> tuple[str, ...]:
        """Axes of ours that tell tensors apart."""
        return tuple(axis for axis, _ in _IN_NAME.findall(self.name))

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of ours within a tensor, in the order in which its elements lie."""
        return tuple(itertools.chain.from_iterable(self.dimensions))

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of a tensor, from the sizes of our axes."""
        return tuple(math.prod(sizes.get(axis, 1) for axis in dimension) for dimension in self.dimensions)

    def tensors(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
        """The tensors of the array: name, and index along each of the axes in the name."""
        axes = self.axes_in_name
        for index in itertools.product(*(range(sizes[axis]) for axis in axes)):
            at = dict(zip(axes, index, strict=True))
            yield _IN_NAME.sub(lambda part, at=at: _word(part[2], at[part[1]]), self.name), at


def _word(words: str | None, index: int) -> str:
    return str(index) if not words else words.split("|")[index]


@dataclass(frozen=True)
class TensorMap:
    """How the arrays of a family's models lie in the tensors of transformers."""

    lines: Mapping[str, str]
    """By the name of our array, its path in the model. A model may lack some of the arrays."""

    base: str
    """Beginning of the names that files of the model without its output layer lack: `transformer.`."""

    tied: Mapping[str, str] = field(default_factory=dict)
    """Tensors that a file may hold as copies of an array of ours, unless the model has an array for them: the output
    layer that is the embedding."""

    ignored: Sequence[str] = ()
    """Patterns of names of tensors that are no weights, such as masks that old versions of transformers saved."""

    def of(self, arrays: Iterable[str]) -> dict[str, ArrayTensors]:
        """The tensors of each of these arrays.

        Raises:
            KeyError: the map knows nothing of an array.
        """
        return {name: ArrayTensors.parse(self.lines[name]) for name in arrays}

    def is_ignored(self, tensor: str) -> bool:
        """Is this tensor of a file none of the weights?"""
        return any(re.fullmatch(pattern, tensor) for pattern in self.ignored)
