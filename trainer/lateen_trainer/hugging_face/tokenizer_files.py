"""The files of a job's tokenizer, as transformers 4 and 5 read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from lateen_trainer.data.tokenizer import HuggingFaceTokenizer, Tokenizer, load_tokenizer

_MAIN = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
COPIED = (
    _MAIN,
    _CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
"""Files of a tokenizer in Hugging Face's format."""

_CLASS = "PreTrainedTokenizerFast"
"""Reads tokenizer.json in both versions; the classes that transformers 5 has made of it are not known to 4."""

_OF_VERSION_5 = ("TokenizersBackend", "PythonBackend", "SentencePieceBackend")
_END_OF_TEXT = "<|endoftext|>"


def tokenizer_files(name: str, context: int) -> dict[str, bytes]:
    """The files by name.

    Args:
        name: `spec.data.tokenizer`.
        context: longest context of the model, for a tokenizer that does not say it.

    Raises:
        UserError: there is no such tokenizer.
    """
    if name == "bytes":
        files = {_MAIN: _bytes_tokenizer()}
        end = _END_OF_TEXT
    else:
        tokenizer = load_tokenizer(name)
        assert isinstance(tokenizer, HuggingFaceTokenizer)
        files = _files_of(name)
        if _MAIN not in files:
            files[_MAIN] = tokenizer.to_json()
        end = _token(files[_MAIN], tokenizer)
    config: dict[str, Any] = json.loads(files.get(_CONFIG, b"{}"))
    files[_CONFIG] = _dump(_for_both(config, end, context))
    return files


def _files_of(name: str) -> dict[str, bytes]:
    path = Path(name).expanduser()
    if path.is_file():
        folder, renamed = path.parent, {_MAIN: path}
    elif path.is_dir():
        folder, renamed = path, {}
    else:
        return _files_of_hub(name)
    found = {file: renamed.get(file, folder / file) for file in COPIED}
    return {file: place.read_bytes() for file, place in found.items() if place.is_file()}


def _files_of_hub(name: str) -> dict[str, bytes]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    files = {}
    for file in COPIED:
        try:
            files[file] = Path(hf_hub_download(name, file)).read_bytes()
        except EntryNotFoundError:  # also where the hub is not asked and the cache lacks it
            continue
    return files


def _token(main: bytes, tokenizer: Tokenizer) -> str:
    """The text of the token that ends a document."""
    token = tokenizers.Tokenizer.from_buffer(main).id_to_token(tokenizer.eos_id)
    assert token is not None, f"the tokenizer has no token {tokenizer.eos_id}"
    return token


def _for_both(config: Mapping[str, Any], end: str, context: int) -> dict[str, Any]:
    """The tokenizer's configuration in words of both versions; nothing that is there is changed without need."""
    result = {"eos_token": end, "model_max_length": context, "tokenizer_class": _CLASS, **config}
    if result["tokenizer_class"] in _OF_VERSION_5:
        result["tokenizer_class"] = _CLASS
        result.pop("backend", None)
    if isinstance(result.get("extra_special_tokens"), list):  # version 4 takes a mapping there
        extra = result.pop("extra_special_tokens")
        if extra:
            result.setdefault("additional_special_tokens", extra)
    return result


def _bytes_tokenizer() -> bytes:
    """The built-in tokenizer `bytes`: token i is byte i, token 256 ends a text."""
    letters = _letters()
    tokenizer = tokenizers.Tokenizer(models.BPE({letter: byte for byte, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([tokenizers.AddedToken(_END_OF_TEXT, special=True, normalized=False)])
    return tokenizer.to_str(pretty=True).encode()


def _letters() -> list[str]:
    """The letter by which ByteLevel writes each byte: itself where it can be printed, else one from 256 on."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (byte for byte in range(256) if byte not in printed)
    moved = {byte: 256 + number for number, byte in enumerate(others)}
    return [chr(moved.get(byte, byte)) for byte in range(256)]


def _dump(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()
