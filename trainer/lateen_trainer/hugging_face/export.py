"""A model as a folder that transformers loads: weights, configuration, tokenizer, model card."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lateen_api.hugging_face.config import unwritable_fields, write_config
from lateen_api.hugging_face.families import FAMILIES
from lateen_api.spec.model import ModelSpec
from lateen_api.wording import camel_case, show

from lateen_trainer.checkpoint.state import Leaf, named_leaves
from lateen_trainer.errors import LostPeerError, UserError
from lateen_trainer.hugging_face.destination import CONFIG, Destination
from lateen_trainer.hugging_face.imported import GENERATION_CONFIG, Imported
from lateen_trainer.hugging_face.tokenizer_files import tokenizer_files
from lateen_trainer.hugging_face.write import (
    Blocks,
    OutputFile,
    OutputTensor,
    cut_into_files,
    device_blocks,
    index_of,
    output_tensors,
    write_file,
)
from lateen_trainer.models.families import tensor_map

CARD = "README.md"
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Types in safetensors, by their names in a job."""


@dataclass(frozen=True)
class Together:
    """This process among those that export together."""

    process: int = 0
    count: int = 1
    agree: Callable[[bool], bool] = lambda ok: ok
    """Gives every process the conjunction of what all processes pass."""

    progress: Callable[[], None] = lambda: None
    """Is called again and again, so that nobody takes a long export for a process that hangs."""


@dataclass(frozen=True)
class ExportedModel:
    """What is exported, besides the parameters."""

    spec: ModelSpec
    vocab_size: int
    tokenizer: str
    """`spec.data.tokenizer`."""

    end_of_text: int
    """The tokenizer's token that ends a text."""

    card: str
    """Content of README.md."""

    imported: Imported | None = None
    """What the model began with."""

    dtype: str | None = None
    """Type of the tensors as a job names it; None: that of the imported tensors, or else of the parameters."""


def export_model(
    model: Any, about: ExportedModel, destination: Destination, *, file_bytes: int, together: Together | None = None
) -> None:
    """Writes the folder. All processes call it; each writes some of the files of weights, process 0 all others.

    What is there of an earlier model is deleted first, and config.json is written last: a folder that holds one is
    whole.

    Args:
        model: a LanguageModel, its arrays over the devices of all processes.
        about: the rest of it.
        destination: the folder.
        file_bytes: bytes of a file of weights, at most.
        together: None: this process is alone.

    Raises:
        UserError, TrainerError, OSError: it cannot be written.
        LostPeerError: another process cannot write its part.
    """
    export_leaves(named_leaves(model), about, destination, file_bytes=file_bytes, together=together)


def export_leaves(
    leaves: Sequence[Leaf],
    about: ExportedModel,
    destination: Destination,
    *,
    file_bytes: int,
    together: Together | None = None,
    blocks: Blocks = device_blocks,
) -> None:
    """The same of the arrays of a model by name, whose elements `blocks` gives."""
    check_writable(about.spec)
    files = cut_into_files(_tensors(leaves, about), file_bytes)
    texts = functools.partial(_write_texts, about, destination, files)
    write_folder(files, texts, destination, together or Together(), blocks)


def write_folder(
    files: Sequence[OutputFile],
    write_texts: Callable[[], None],
    destination: Destination,
    together: Together,
    blocks: Blocks = device_blocks,
) -> None:
    """Clears the folder and writes it: the files of weights, then the others.

    Args:
        files: of weights; each process writes some.
        write_texts: writes the others, on process 0.
        destination: the folder.
        together: this process among the others.
        blocks: gives the elements of the tensors.

    Raises:
        UserError, TrainerError, OSError: it cannot be written.
        LostPeerError: another process cannot write its part.
    """
    _on_first(together, destination.clear)
    _on_all(together, destination, files, blocks)
    _on_first(together, write_texts)


def check_writable(spec: ModelSpec) -> None:
    """Raises:
    UserError: the family's class in Hugging Face's format has not the options of this model.
    """
    for name, value, only in unwritable_fields(spec):
        raise UserError(
            f"spec.model.{camel_case(name)} is {show(value)}: {FAMILIES[spec.type].architecture} computes {show(only)} "
            "only. The model cannot be exported; its checkpoints hold it."
        )


def _tensors(leaves: Sequence[Leaf], about: ExportedModel) -> list[OutputTensor]:
    names, params = tensor_map(about.spec.type), DTYPES[leaves[0].dtype]

    def dtype_of(tensor: str) -> str:
        if about.dtype is not None:
            return DTYPES[about.dtype]
        return params if about.imported is None else about.imported.dtype_of(tensor)

    copies = () if about.imported is None else about.imported.copies
    return output_tensors(names, leaves, dtype_of, copies, about.vocab_size)


def _on_first(together: Together, action: Callable[[], None]) -> None:
    """Process 0 does something; the others learn whether it went well."""
    error = None
    if together.process == 0:
        try:
            action()
        except Exception as raised:
            error = raised
    _settle(together, error)


def _on_all(together: Together, destination: Destination, files: Sequence[OutputFile], blocks: Blocks) -> None:
    """Writes the files of weights, as many at a time as there are processes."""
    error: Exception | None = None
    for group in _batched(files, together.count):
        own = group[together.process] if together.process < len(group) else None
        writer = None if own is None else destination.writer(own.name)
        steps = [write_file(file, writer.write if writer and file is own else None, blocks) for file in group]
        while steps:
            together.progress()
            steps = [step for step in steps if next(step, _END) is not _END]
        try:
            if writer is not None:
                writer.close()
        except Exception as raised:
            error = error or raised
    _settle(together, error)


_END = object()


def _batched(files: Sequence[OutputFile], count: int) -> Sequence[Sequence[OutputFile]]:
    return [files[start : start + count] for start in range(0, len(files), count)]


def _settle(together: Together, error: Exception | None) -> None:
    if not together.agree(error is None):
        raise error or LostPeerError("another process cannot write its part of the export; its own message says why.")


def _write_texts(about: ExportedModel, destination: Destination, files: Sequence[OutputFile]) -> None:
    if (index := index_of(files)) is not None:
        destination.put_json(*index)
    usual = Counter(tensor.dtype for file in files for tensor in file.tensors).most_common(1)[0][0]
    config = config_of(about, next(name for name, short in DTYPES.items() if short == usual))
    for name, content in tokenizer_files(about.tokenizer, about.spec.seq_len).items():
        destination.put(name, content)
    destination.put_json(GENERATION_CONFIG, _generation_config(about, config))
    destination.put(CARD, about.card.encode())
    destination.put_json(CONFIG, config)


def config_of(about: ExportedModel, dtype: str) -> dict[str, Any]:
    """Content of config.json, for tensors of which most are of this type."""
    if about.imported is None:
        ends = {"bos_token_id": about.end_of_text, "eos_token_id": about.end_of_text}
        # torch_dtype is what version 4 of transformers calls it, and 5 reads it too.
        return {**write_config(about.spec, about.vocab_size), **ends, "torch_dtype": dtype}
    config = write_config(about.spec, about.vocab_size, about.imported.config)
    if DTYPES[dtype] != about.imported.dtype:
        config["dtype" if "dtype" in config else "torch_dtype"] = dtype
    return config


def _generation_config(about: ExportedModel, config: Mapping[str, Any]) -> dict[str, Any]:
    if about.imported is not None and about.imported.generation_config is not None:
        return dict(about.imported.generation_config)
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None}
    return {"_from_model_config": True, **ends}
