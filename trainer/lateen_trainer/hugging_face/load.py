"""From the tensors of a folder to arrays over a mesh: each process reads the parts that its devices hold."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np

from lateen_trainer.checkpoint.grid import Box
from lateen_trainer.checkpoint.read import Reading, aligned_empty, finish_in_order
from lateen_trainer.checkpoint.state import boxes_by_device
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.exchange import exchange
from lateen_trainer.hugging_face.match import Source
from lateen_trainer.hugging_face.safetensors import DTYPES
from lateen_trainer.hugging_face.weights import Weights

_READERS = 4


def load_arrays(weights: Weights, sources: Sequence[Source]) -> list:
    """The arrays of `sources`, each in its type and on the devices of its sharding. All processes call it.

    Host memory holds the parts of this process's devices, and a few reads; on CPU devices the parts are the devices'
    own memory.

    Raises:
        UserError, TrainerError: the folder cannot be read, or copies of an array differ.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="import") as pool:
        return finish_in_order(pool, (_begin_exchanged(pool, weights, source) for source in sources))


@dataclass(frozen=True)
class ExchangedReading(Reading):
    """An array that is read otherwise divided than it is asked for."""

    finish: Callable[[jax.Array], jax.Array]

    def on_devices(self) -> jax.Array:
        """Waits for the parts, and exchanges them."""
        return self.finish(super().on_devices())


def _begin_exchanged(pool: ThreadPoolExecutor, weights: Weights, source: Source) -> Reading:
    stored = next(iter(source.names.values()))
    plan = exchange(source, DTYPES[weights.tensors[stored].entry.dtype].itemsize)
    if plan is None:
        return _begin(pool, weights, source)
    reading = _begin(pool, weights, plan.source)
    return ExchangedReading(reading.leaf, reading.parts, reading.chunks, plan.finish)


def _begin(pool: ThreadPoolExecutor, weights: Weights, source: Source) -> Reading:
    leaf = source.leaf
    dtype = np.dtype(leaf.array.dtype)
    parts = {
        box: aligned_empty([stop - start for start, stop in box], dtype) for box in set(boxes_by_device(leaf).values())
    }
    jobs = []
    for box, part in parts.items():
        if source.is_padded:
            part.fill(0)
        for name, tensor_box, target in tensor_parts(source, box, part):
            stored = source.names[name]
            jobs.append(pool.submit(_read, weights, source, (stored, *source.copies), tensor_box, target))
    return Reading(leaf, parts, jobs)


def tensor_parts(source: Source, box: Box, part: np.ndarray) -> Iterator[tuple[str, Box, np.ndarray]]:
    """The tensors that a part of an array takes from.

    Args:
        source: of the array.
        box: of the array, along our axes.
        part: the values of the box.

    Yields:
        The name of a tensor, the box of it along `ArrayTensors.axes`, and a view of `part` of this shape.
    """
    assert source.leaf.axes is not None
    place = {axis: number for number, axis in enumerate(source.leaf.axes)}
    # What pads the vocabulary lies behind its entries, and is in no tensor.
    box = tuple(
        (start, max(start, min(stop, source.sizes[axis])))
        for axis, (start, stop) in zip(source.leaf.axes, box, strict=True)
    )
    part = part[tuple(slice(0, stop - start) for start, stop in box)]
    if part.size == 0:
        return
    inside = [axis for axis in source.tensors.axes if axis in place]
    order = [place[axis] for axis in (*source.tensors.axes_in_name, *inside)]
    ordered = part.transpose(order)
    tensor_box = tuple(box[place[axis]] if axis in place else (0, 1) for axis in source.tensors.axes)
    shape = tuple(stop - start for start, stop in tensor_box)
    for name, at in source.tensors.tensors(source.sizes):
        index = tuple(number - box[place[axis]][0] for axis, number in at.items())
        if all(0 <= i < ordered.shape[along] for along, i in enumerate(index)):
            yield name, tensor_box, _reshaped(ordered[index], shape)


def _reshaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same memory with axes of length 1 put in."""
    view = values.view()
    if values.ndim != len(shape):
        view = values.reshape(shape)
        assert view.size == 0 or np.shares_memory(view, values), "a copy would be filled instead of the array"
    return view


def _read(weights: Weights, source: Source, names: Sequence[str], box: Box, target: np.ndarray) -> None:
    """Reads a part of a tensor, and of its copies to compare them."""
    shape = tuple(source.sizes.get(axis, 1) for axis in source.tensors.axes)
    weights.read_as(names[0], shape, box, target)
    for copy in names[1:]:
        other = np.empty_like(target)
        weights.read_as(copy, shape, box, other)
        if not np.array_equal(target, other, equal_nan=True):
            raise UserError(
                f"{weights.folder.field} is {weights.folder.url!r}: tensors {names[0]} and {copy} differ, and "
                "config.json ties them (tie_word_embeddings): expected equal elements. Set it to false there, and "
                "spec.model.tieWordEmbeddings, if the output layer is one of its own."
            )
