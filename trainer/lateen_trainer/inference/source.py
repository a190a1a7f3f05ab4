"""The model and the tokenizer that `lateen generate` is given: of a checkpoint, or of a folder of Hugging Face's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from lateen_api.hugging_face.config import read_model
from lateen_api.hugging_face.folder import CONFIG, ModelFolder
from lateen_api.spec.model import ModelSpec

from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.data.tokenizer import Tokenizer, load_tokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.checkpoint_model import read_checkpoint_model
from lateen_trainer.hugging_face.imported import GENERATION_CONFIG
from lateen_trainer.hugging_face.initial import find_checkpoint
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import match
from lateen_trainer.hugging_face.tokenizer_files import COPIED
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.models.families import init_model, make_config, tensor_map
from lateen_trainer.models.layers import cast
from lateen_trainer.models.lora import merged

FIELD = "MODEL"
_END = "eos_token_id"


@dataclass(frozen=True)
class Source:
    """A model that is ready, and what texts are for it."""

    model: Any
    """On the first device."""

    tokenizer: Tokenizer
    tokenizer_location: str
    """Folder, file or name of the hub that the tokenizer is of."""

    ends: frozenset[int]
    """Tokens that end a text."""

    is_trained_here: bool
    """A checkpoint of lateen: its texts began without special tokens."""


def load_source(url: str, tokenizer: str | None, dtype: str, scratch: Path) -> Source:
    """Loads what `lateen generate` is given.

    Args:
        url: a checkpoint of lateen or a model in Hugging Face's format, as in `spec.trainer.initializeFrom`.
        tokenizer: as `spec.data.tokenizer`; None: that of the model.
        dtype: of the parameters.
        scratch: an empty folder, for the files of a tokenizer that is elsewhere.

    Raises:
        UserError, JobError: there is no such model or tokenizer, or they do not belong together.
    """
    folder = ModelFolder(url, FIELD)
    config = folder.read_json(CONFIG)
    if config is None:
        return _of_checkpoint(folder, tokenizer, dtype)
    return _of_hugging_face(folder, config, tokenizer, dtype, scratch)


def _of_checkpoint(folder: ModelFolder, tokenizer: str | None, dtype: str) -> Source:
    checkpoints, manifest = find_checkpoint(folder)
    about = AboutRun.from_metadata(manifest.metadata, checkpoints.where(manifest.step))
    location = tokenizer or about.tokenizer
    loaded = _tokenizer(folder, location, is_named=tokenizer is not None)
    platform = jax.devices()[0].platform
    trained = read_checkpoint_model(about, checkpoints, manifest, field=FIELD, platform=platform)
    model = cast(merged(trained), jnp.dtype(dtype))
    ends = frozenset([about.end_of_text, loaded.eos_id])
    return _checked(folder, Source(model, loaded, location, ends, is_trained_here=True))


def _of_hugging_face(
    folder: ModelFolder, config: Mapping[str, Any], tokenizer: str | None, dtype: str, scratch: Path
) -> Source:
    try:
        spec = read_model(config)
    except ValueError as error:
        raise folder.error(f"in {CONFIG}, {error}.") from error
    location = tokenizer or _tokenizer_folder(folder, scratch)
    loaded = _tokenizer(folder, location, is_named=tokenizer is not None)
    assert spec.vocab_size is not None, "read_model reads it"
    shapes = _shapes(spec, spec.vocab_size, dtype)
    arrays = load_arrays(weights := Weights(folder), match(weights, tensor_map(spec.type), named_leaves(shapes)))
    model = jax.tree.unflatten(jax.tree.structure(shapes), arrays)
    ends = {loaded.eos_id, *_ids(config.get(_END)), *_ids((folder.read_json(GENERATION_CONFIG) or {}).get(_END))}
    return _checked(folder, Source(model, loaded, location, frozenset(ends), is_trained_here=False))


def _shapes(spec: ModelSpec, vocab_size: int, dtype: str) -> Any:
    """The model without its numbers, whose parameters have this type."""
    config = make_config(spec, vocab_size, jax.devices()[0].platform)

    def init() -> Any:
        return cast(init_model(config, key=jax.random.key(0)), jnp.dtype(dtype))

    return jax.eval_shape(init)


def _tokenizer_folder(folder: ModelFolder, scratch: Path) -> str:
    """A folder of this machine with the model's tokenizer."""
    if folder.local is not None:
        found, place = [name for name in COPIED if (folder.local / name).is_file()], folder.local
    else:
        contents = {name: folder.read(name) for name in COPIED}
        found, place = [name for name, content in contents.items() if content is not None], scratch
        for name in found:
            (scratch / name).write_bytes(contents[name] or b"")
    if not {"tokenizer.json", "tokenizer.model", "vocab.json"} & set(found):
        raise UserError(
            f"{FIELD} is {folder.url!r}: it has no tokenizer (tokenizer.json). Name the one that the model was trained "
            "with: --tokenizer."
        )
    return str(place)


def _tokenizer(folder: ModelFolder, location: str, *, is_named: bool) -> Tokenizer:
    try:
        return load_tokenizer(location)
    except UserError as error:
        if is_named:
            raise UserError(f"--tokenizer {location}: {error}") from error
        raise UserError(
            f"{FIELD} is {folder.url!r}, and its tokenizer cannot be loaded: {error} Or name another one: --tokenizer."
        ) from error


def _checked(folder: ModelFolder, source: Source) -> Source:
    """The source, if the model knows all tokens of the tokenizer."""
    known, tokens = source.model.config.vocab_size, source.tokenizer.vocab_size
    if tokens > known:
        raise UserError(
            f"{FIELD} is {folder.url!r}: its vocabulary has {known} entries, and the tokenizer "
            f"{source.tokenizer_location!r} has {tokens} tokens: expected no more. Name the one that the model was "
            "trained with: --tokenizer."
        )
    return source


def _ids(value: Any) -> list[int]:
    """The numbers of a key that holds one or several."""
    return [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)]
