"""Tokenizers: text to token ids and back. Bytes are built in; all others are in Hugging Face's format."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import tokenizers

from lateen_trainer.data.chat import TEMPLATE_FILE, ChatEncoder, ChatTemplate, template_in
from lateen_trainer.errors import UserError

FIELD = "spec.data.tokenizer"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]")
"""Names of the end-of-text token, tried where a tokenizer's configuration names none."""


class Tokenizer(Protocol):
    """What the data station needs of a tokenizer. Safe to use from several threads at once."""

    name: str
    """As the job calls it."""

    vocab_size: int
    """One more than the greatest token id."""

    eos_id: int
    """The token that ends a document."""

    takes_bytes: bool
    """`encode_batch` takes bytes; otherwise it takes str."""

    fingerprint: str
    """Hex digest of all that determines the tokens of a text."""

    def encode_batch(self, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        """The tokens of each text, an array of unsigned integers of shape (tokens,), without end of text."""
        ...

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of tokens. Tokens with a meaning of their own (end of text) are left out."""
        ...


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer that `spec.data.tokenizer` names.

    Args:
        name: `bytes`; or a folder or `tokenizer.json` in Hugging Face's format; or a name on the hub, which
            is read
            from the hub's cache on this machine where it is there.

    Raises:
        UserError: there is no such tokenizer, the hub cannot be reached, or what is there is no tokenizer.
    """
    if name == "bytes":
        return ByteTokenizer()
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path)
    if path.is_file():
        return _from_file(name, path)
    if not _HUB_NAME.fullmatch(name) or path.suffix == ".json":
        raise UserError(
            f"{FIELD} is {name!r}: there is no such file or folder (seen from {Path.cwd()}), and it is no "
            "name on the Hugging Face hub. Expected `bytes`, a folder, a tokenizer.json, or a name such as "
            "gpt2."
        )
    return _from_hub(name)


def chat_encoder(tokenizer: Tokenizer, field: str = "spec.data.format") -> ChatEncoder:
    """What makes tokens of conversations.

    Args:
        tokenizer: whose chat template renders them.
        field: the job's field that asks for conversations, for messages.

    Raises:
        UserError: the tokenizer has no chat template, or one that cannot be used.
    """
    encoder = tokenizer.chat_encoder(field) if isinstance(tokenizer, HuggingFaceTokenizer) else None
    if encoder is None:
        raise UserError(
            f"{FIELD} is {tokenizer.name!r}, which has no chat template, and {field} is 'chat': expected "
            f"chat_template in its tokenizer_config.json, or a {TEMPLATE_FILE} beside it. Add one, or name the "
            "tokenizer of an instruction-tuned model."
        )
    return encoder


class ByteTokenizer:
    """One token a byte (ids 0 to 255), and 256 for the end of text."""

    name = "bytes"
    vocab_size = 257
    eos_id = 256
    takes_bytes = True
    fingerprint = "bytes"

    def encode_batch(self, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8) for text in texts]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        return bytes(int(token) for token in ids if token < 256).decode(errors="replace")


class HuggingFaceTokenizer:
    """A tokenizer of the `tokenizers` library. It encodes with all cores of the machine."""

    takes_bytes = False

    def __init__(
        self,
        name: str,
        tokenizer: tokenizers.Tokenizer,
        eos_id: int,
        fingerprint: str,
        chat_template: ChatTemplate | None = None,
    ):
        # Both would change texts silently; sequences are cut and filled by the loader.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # Text of a document is text, also where it reads "</s>": transformers calls this split_special_tokens.
        tokenizer.encode_special_tokens = True
        added = tokenizer.get_added_tokens_decoder().get(eos_id)
        if added is not None and not added.special:
            # The configuration makes it the end of text; transformers, too, then takes it for a special token.
            names = ("content", "single_word", "lstrip", "rstrip", "normalized")
            marked = {name: getattr(added, name) for name in names}
            tokenizer.add_special_tokens([tokenizers.AddedToken(**marked, special=True)])
        self.name = name
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.eos_id = eos_id
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._chat_template = chat_template

    def chat_encoder(self, field: str) -> ChatEncoder | None:
        """What makes tokens of conversations; None: the tokenizer has no chat template. `field` is for messages."""
        if self._chat_template is None:
            return None
        return ChatEncoder(self._tokenizer, self._chat_template, self.eos_id, field)

    def encode_batch(self, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        encodings = self._tokenizer.encode_batch_fast(cast(list[str], list(texts)), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        return self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=True)

    def encode_with_special_tokens(self, text: str) -> list[int]:
        """The tokens of a text with those that the tokenizer puts before it, as `transformers` has them; an end of text
        is left out."""
        tokens = self._tokenizer.encode(text).ids
        return tokens[:-1] if tokens[-1:] == [self.eos_id] and len(tokens) > 1 else tokens

    def to_json(self) -> bytes:
        """The tokenizer as a tokenizer.json holds it."""
        return self._tokenizer.to_str(pretty=True).encode()


def _from_file(name: str, path: Path) -> HuggingFaceTokenizer:
    try:
        content = path.read_bytes()
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except OSError as error:
        raise UserError(f"{FIELD} is {name!r}: {path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # the library raises bare Exceptions
        what = "no tokenizer in Hugging Face's format" if _is_json(path) else "not JSON"
        raise UserError(
            f"{FIELD} is {name!r}: {path} is {what}: {error}. Expected a tokenizer.json as "
            "`tokenizer.save_pretrained(folder)` of transformers writes it."
        ) from error
    eos_id = _end_of_text(name, tokenizer, path.parent)
    fingerprint = hashlib.sha256(content + str(eos_id).encode()).hexdigest()
    return HuggingFaceTokenizer(name, tokenizer, eos_id, fingerprint, template_in(path.parent))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _end_of_text(name: str, tokenizer: tokenizers.Tokenizer, folder: Path) -> int:
    """Id of the token that ends a text: what the configuration beside tokenizer.json says, or a usual name.

    Raises:
        UserError: the tokenizer has no such token.
    """
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / file
        if not path.is_file():
            continue
        if not _is_json(path):
            raise UserError(f"{FIELD} is {name!r}: {path} is not JSON. Expected the tokenizer's configuration.")
        configuration = json.loads(path.read_bytes())
        token = configuration.get("eos_token") if isinstance(configuration, dict) else None
        text = token.get("content") if isinstance(token, dict) else token
        if text is None:
            continue
        if (eos_id := tokenizer.token_to_id(text)) is None:
            raise UserError(
                f"{FIELD} is {name!r}: {path} names the end-of-text token {text!r}, which is not in the vocabulary."
            )
        return eos_id
    for text in _END_OF_TEXT:
        if (eos_id := tokenizer.token_to_id(text)) is not None:
            return eos_id
    raise UserError(
        f"{FIELD} is {name!r}: no end-of-text token is known, and documents cannot be told apart without "
        f"one. Expected eos_token in a tokenizer_config.json beside it, or one of "
        f"{', '.join(_END_OF_TEXT)} in the vocabulary."
    )


def _from_folder(name: str, folder: Path) -> HuggingFaceTokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        return _from_file(name, path)
    if not any(folder.iterdir()):
        raise UserError(f"{FIELD} is {name!r}: the folder is empty. Expected a tokenizer.json in it.")
    return _from_transformers(name, str(folder))


def _from_hub(name: str) -> HuggingFaceTokenizer:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    own_copy = "Or name a folder that holds its tokenizer.json."
    try:
        path = Path(hf_hub_download(name, "tokenizer.json"))
    except GatedRepoError as error:
        raise UserError(
            f"{FIELD} is {name!r}: access to it must be granted on the Hugging Face hub first. Accept its "
            f"terms there and set HF_TOKEN (spec.compute.secrets). {own_copy}"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{FIELD} is {name!r}: there is no such file or folder here, and no such name on the Hugging "
            f"Face hub, or it is private: then set HF_TOKEN (spec.compute.secrets). {own_copy}"
        ) from error
    except LocalEntryNotFoundError as error:  # also an EntryNotFoundError, so it stands first
        raise UserError(
            f"{FIELD} is {name!r}: it is not on this machine (no such file or folder, not in the hub's "
            f"cache), and the Hugging Face hub cannot be reached. {own_copy}"
        ) from error
    except EntryNotFoundError:
        return _from_transformers(name, name)
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"{FIELD} is {name!r}: the Hugging Face hub answers {error}. {own_copy}") from error
    for optional in ("tokenizer_config.json", "special_tokens_map.json", TEMPLATE_FILE):
        try:
            hf_hub_download(name, optional)
        except EntryNotFoundError:
            continue
    return _from_file(name, path)


def _from_transformers(name: str, location: str) -> HuggingFaceTokenizer:
    """A tokenizer without tokenizer.json, which transformers knows how to convert."""
    from transformers import AutoTokenizer  # takes seconds: only where it is needed

    try:
        converted = AutoTokenizer.from_pretrained(location)
        backend = converted.backend_tokenizer
    except Exception as error:  # from anything that the files may hold
        raise UserError(
            f"{FIELD} is {name!r}: there is no tokenizer.json, and transformers cannot make one of what is "
            f"there: {error}"
        ) from error
    if converted.eos_token_id is None:
        raise UserError(f"{FIELD} is {name!r}: it names no end-of-text token. Set eos_token in its configuration.")
    content = f"{backend.to_str()}{converted.eos_token_id}"
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    template = converted.chat_template if isinstance(converted.chat_template, str) else None
    names = {key: str(value) for key, value in converted.special_tokens_map.items() if isinstance(value, str)}
    chat = None if template is None else ChatTemplate(template, names)
    return HuggingFaceTokenizer(name, backend, int(converted.eos_token_id), fingerprint, chat)
