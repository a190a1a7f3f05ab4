"""Conversations as tokens: rendered by the tokenizer's chat template, with the assistant's turns marked.

What counts of a conversation is what the assistant would have to write: of each of its turns, all that the template
puts behind the prompt for it, up to the end of the turn. Where a template marks that itself (`{% generation %}`), its
marks say it. Where it does not, the conversation is rendered up to the prompt of each turn and up to its end, and the
texts say where in the whole it lies. The whole is tokenised once, and a token counts if it begins there: pieces that
are tokenised by themselves could have other tokens at their ends.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import tokenizers

from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.errors import UserError

TEMPLATE_FILE = "chat_template.jinja"
"""Where newer tokenizers keep their template, beside their configuration."""

Message = Mapping[str, Any]
"""`role` and `content`, and what else the template reads."""

_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_CLOCK = "strftime_now"

_HALF_OF_PAIR = re.compile("[\ud800-\udfff]")
"""JSON can escape half a surrogate pair, which is no text and has no UTF-8."""


class ConversationError(ValueError):
    """A conversation that cannot be rendered, or whose turns cannot be told apart."""


class Conversation(NamedTuple):
    """The tokens of a conversation."""

    ids: np.ndarray
    """[tokens] uint32, the last of them the end of text."""

    counted: np.ndarray
    """[tokens] uint8: 1 where the token is the assistant's."""


@dataclass(frozen=True)
class Rendered:
    """The text of a conversation. Its length is that of the text."""

    text: str
    spans: list[tuple[int, int]]
    """From where to where in it the assistant's turns lie."""

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template as tokenizers of Hugging Face's format have it, and the special tokens that it names."""

    text: str
    special_tokens: Mapping[str, str]
    """By their names there: `bos_token`, `eos_token`, …"""

    def render(self, messages: Sequence[Message], *, prompt: bool = False) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation, and from where to where its template marks it as the assistant's.

        Args:
            prompt: whether the beginning of an answer stands at the end.

        Raises:
            ConversationError: the template refuses the messages.
        """
        from transformers.utils.chat_template_utils import render_jinja_template  # takes seconds: only for chats

        has_marks = self.has_marks
        try:
            texts, marked = render_jinja_template(
                conversations=[[dict(message) for message in messages]],
                chat_template=self.text,
                add_generation_prompt=prompt,
                return_assistant_tokens_mask=has_marks,
                **cast("dict[str, Any]", dict(self.special_tokens)),
            )
        except Exception as error:  # of any kind: it is the template's
            raise ConversationError(f"the chat template refuses it: {error}") from error
        text = _HALF_OF_PAIR.sub("\ufffd", texts[0])  # as long as before, so that marks stay where they were
        return text, [(int(start), int(end)) for start, end in marked[0]] if has_marks else []

    @property
    def has_marks(self) -> bool:
        """Does the template mark the assistant's turns itself?"""
        return _MARKS.search(self.text) is not None


class ChatEncoder:
    """Makes tokens of conversations. Safe to use from several threads at once.

    Args:
        tokenizer: of the `tokenizers` library. It is not changed.
        template: what renders a conversation.
        eos_id: the token that ends a document.
        field: the job's field that asks for conversations, for messages.

    Raises:
        UserError: what the template renders depends on the time of day.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, template: ChatTemplate, eos_id: int, field: str = "spec.data.format"
    ):
        if _CLOCK in template.text:
            raise UserError(
                f"{field} is 'chat': the chat template of spec.data.tokenizer calls {_CLOCK}, so that its "
                "text changes from day to day: expected one that renders a conversation always alike. Put a date in "
                "its place."
            )
        # Of its own, since here the text's special tokens are meant as such: the template wrote them.
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._template = template
        self._eos_id = eos_id
        parts = [template.text, *(f"{name}={token}" for name, token in sorted(template.special_tokens.items()))]
        self.fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        """Hex digest of all that determines the tokens besides the tokenizer."""

    def render(self, messages: Any) -> Rendered:
        """The text of a conversation, and where in it the assistant's turns lie.

        Raises:
            ConversationError: these are no messages, or the template refuses them, or it changes earlier turns as the
                conversation goes on.
        """
        _check_messages(messages)
        text, marked = self._template.render(messages)
        if self._template.has_marks:
            return Rendered(text, marked)
        spans = []
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                spans.append(self._span_of_turn(text, messages, number))
        return Rendered(text, spans)

    def encode(self, conversations: Sequence[Rendered]) -> list[Conversation]:
        """The tokens of conversations as `render` gives them."""
        encodings = self._tokenizer.encode_batch([one.text for one in conversations], add_special_tokens=False)
        return [self._conversation(encoding, one.spans) for encoding, one in zip(encodings, conversations, strict=True)]

    def _span_of_turn(self, text: str, messages: Sequence[Message], number: int) -> tuple[int, int]:
        until_prompt, _ = self._template.render(messages[:number], prompt=True) if number else ("", [])
        until_end, _ = self._template.render(messages[: number + 1])
        for part, what in ((until_prompt, "before"), (until_end, "up to the end of")):
            if not text.startswith(part):
                raise ConversationError(
                    f"the chat template renders what stands {what} message {number + 1} in another way once the "
                    "conversation goes on, so that the assistant's turns cannot be told apart: expected a template "
                    "that adds to the text, or one with {% generation %} marks"
                )
        return len(until_prompt), max(len(until_prompt), len(until_end))

    def _conversation(self, encoding: tokenizers.Encoding, spans: list[tuple[int, int]]) -> Conversation:
        ids = np.array(encoding.ids, np.uint32)
        begins = np.array([begin for begin, _ in encoding.offsets], np.int64)
        counted = np.zeros(len(ids), np.uint8)
        for start, end in spans:
            counted[(begins >= start) & (begins < end)] = 1
        if not len(ids) or ids[-1] != self._eos_id:
            ids, counted = np.append(ids, np.uint32(self._eos_id)), np.append(counted, np.uint8(0))
        return Conversation(ids, counted)


@dataclass(frozen=True)
class ChatFormat:
    """How conversations lie in records, and become tokens."""

    messages_key: RecordKey
    """Where the messages of a record are."""

    encoder: ChatEncoder

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that determines the tokens besides the tokenizer and the files."""
        return f"{self.messages_key.name}: {self.encoder.fingerprint}"


def _check_messages(messages: Any) -> None:
    """Raises ConversationError for what is no list of messages."""
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else f"a {type(messages).__name__}"
        raise ConversationError(f"is {what}: expected a list of messages")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict):
            raise ConversationError(f"message {number} is a {type(message).__name__}: expected role and content")
        if not isinstance(message.get("role"), str):
            raise ConversationError(f"message {number} has no role: expected system, user or assistant")
        if not isinstance(message.get("content"), str):
            kind = type(message["content"]).__name__ if "content" in message else None
            problem = "has no content" if kind is None else f"has a {kind} as content"
            raise ConversationError(f"message {number} ({message['role']}) {problem}: expected text")


def template_in(folder: Path) -> ChatTemplate | None:
    """The chat template of the tokenizer in a folder; None: it has none.

    A configuration that is no JSON object has none: `tokenizer` refuses it where it needs it.
    """
    file = folder / TEMPLATE_FILE
    try:
        values = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        values = {}
    values = values if isinstance(values, dict) else {}
    template = template_of(values, file.read_text(encoding="utf-8") if file.is_file() else None)
    return None if template is None else ChatTemplate(template, special_tokens_of(values))


def template_of(configuration: Mapping[str, Any], template_file: str | None) -> str | None:
    """The chat template of a tokenizer; None: it has none.

    Args:
        configuration: what its tokenizer_config.json holds.
        template_file: the text of chat_template.jinja beside it, which goes before; None: there is none.
    """
    if template_file is not None:
        return template_file
    template = configuration.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def special_tokens_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that a tokenizer_config.json names: texts, or mappings with `content`."""
    found = {}
    for name, token in configuration.items():
        text = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found
