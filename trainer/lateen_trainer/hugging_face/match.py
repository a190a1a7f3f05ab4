"""Which tensors of a folder are the model's arrays, and what is wrong with the others.

- A tensor that is missing, of another shape, or of a type that holds no plain weights (8 bits and less, integers):
  refused, by name, all of them at once.
- A tensor that no array of the model takes: refused too, as leaving weights out gives another model. Only those count
  for nothing that are no weights (`TensorMap.ignored`).
- A copy of a tied array: taken if the array's own tensor is missing, else it must have the same elements.
- Half, bfloat16, single and double precision are taken; double is rounded to the parameters' type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lateen_trainer.checkpoint.state import Leaf
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.weights import Place, Weights
from lateen_trainer.models.tensor_map import ArrayTensors, TensorMap

VOCAB = "vocab"
"""The axis that may be padded."""

TAKEN = ("F64", "F32", "F16", "BF16")
_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """Where an array of the model is in a folder."""

    leaf: Leaf
    tensors: ArrayTensors
    names: Mapping[str, str]
    """Of the tensors: the name in the map → the name in the folder."""

    copies: Sequence[str]
    """Names of tensors that must have the same elements."""

    sizes: Mapping[str, int]
    """Of our axes, by name, without padding."""

    @property
    def is_padded(self) -> bool:
        """Does the array have elements that are in no tensor?"""
        assert self.leaf.axes is not None
        return tuple(self.sizes[axis] for axis in self.leaf.axes) != tuple(self.leaf.shape)


def axis_sizes(leaf: Leaf, vocab_size: int | None) -> dict[str, int]:
    """Sizes of an array's axes by their names, without what pads the vocabulary.

    Args:
        vocab_size: entries of the vocabulary; None: it is not padded.
    """
    assert leaf.axes is not None, f"{leaf.name} has no named axes"
    sizes = dict(zip(leaf.axes, leaf.shape, strict=True))
    return sizes | {VOCAB: vocab_size} if vocab_size is not None and VOCAB in sizes else sizes


def match(weights: Weights, names: TensorMap, leaves: Sequence[Leaf], vocab_size: int | None = None) -> list[Source]:
    """The sources of all arrays.

    Args:
        weights: of the folder.
        names: the family's map.
        leaves: the arrays of the model, by their names in it.
        vocab_size: entries of the vocabulary, whose axis may be padded; None: it is not.

    Raises:
        UserError: the folder does not hold the model.
    """
    held = weights.tensors
    tensors_of = names.of(leaf.name for leaf in leaves)
    arrays = {leaf.name for leaf in leaves}
    own = {name for leaf in leaves for name, _ in tensors_of[leaf.name].tensors(axis_sizes(leaf, vocab_size))}
    # Of a bare model the files lack the beginning of the names: the GPT-2 of the hub is one.
    is_bare = not any(name.startswith(names.base) for name in held)
    copies: dict[str, list[str]] = {}
    for copy, array in names.tied.items():
        if copy in held and copy not in own and array in arrays:
            copies.setdefault(array, []).append(copy)

    problems: list[str] = []
    sources = []
    for leaf in leaves:
        tensors, sizes = tensors_of[leaf.name], axis_sizes(leaf, vocab_size)
        found: dict[str, str] = {}
        same = copies.get(leaf.name, [])
        for name, _ in tensors.tensors(sizes):
            stored = name.removeprefix(names.base) if is_bare and name not in held else name
            if stored not in held and same:
                stored, same = same[0], same[1:]
            found[name] = stored
            problems += _problems(stored, held.get(stored), tensors.shape(sizes))
        for copy in same:
            problems += _problems(copy, held[copy], tensors.shape(sizes))
        sources.append(Source(leaf, tensors, found, same, sizes))
    taken = {name for source in sources for name in (*source.names.values(), *source.copies)}
    prefix = names.base if is_bare else ""
    surplus = [name for name in held if name not in taken and not names.is_ignored(prefix + name)]
    problems += [f"tensor {name} is none of this model's: expected no weights that it does not use" for name in surplus]
    if problems:
        shown = problems[:_SHOWN] + ([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])
        raise UserError(
            f"{weights.folder.field} is {weights.folder.url!r}, which does not hold the model that spec.model and "
            "config.json describe:\n"
            + "\n".join(f"  {problem}" for problem in shown)
            + "\nName the folder that belongs to this model, or correct spec.model."
        )
    return sources


def _problems(name: str, place: Place | None, shape: tuple[int, ...]) -> list[str]:
    if place is None:
        return [f"tensor {name} is missing: expected shape {list(shape)}"]
    entry = place.entry
    if entry.shape != shape:
        return [f"tensor {name} ({place.file}) has shape {list(entry.shape)}: expected {list(shape)}"]
    if entry.dtype not in TAKEN:
        return [
            f"tensor {name} ({place.file}) is of type {entry.dtype}: expected {', '.join(TAKEN)}. A quantised model "
            "has to be exported in bfloat16 first"
        ]
    return []
