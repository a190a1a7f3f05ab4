"""Tokens as text, while they come: in whole characters, and only up to a text that ends the sample."""

from collections.abc import Callable, Sequence

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What decoders write for bytes that are no character (yet); for those of one that is cut off, once."""

_CONTEXT = 8
"""Tokens of the prompt that its continuation is decoded with."""


class TextStream:
    """The text behind a prompt, token by token.

    Tokenizers decode tokens in the light of those before (a space at the beginning of a text may be dropped), so the
    new text is the difference of two decodings of the last few tokens, without and with the new ones.

    Args:
        decode: text of tokens.
        prompt: tokens before the text.
        stops: texts that end it; they are left out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int], stops: Sequence[str] = ()):
        self._decode, self._stops = decode, tuple(stops)
        self._tokens = list(prompt[-_CONTEXT:])
        self._start, self._done = 0, len(self._tokens)  # those between are the context of what follows
        self._pushed = 0  # characters behind the context that are out already
        self._held = ""
        self.stopped = False
        """Has one of `stops` come?"""

    def push(self, token: int) -> str:
        """The text that is now certain; empty once it is stopped."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        text = self._text()
        certain = text.removesuffix(_INCOMPLETE)
        new = certain[self._pushed :]
        self._pushed = max(self._pushed, len(certain))
        if text and certain == text:
            self._start, self._done, self._pushed = self._done, len(self._tokens), 0
        return self._until_stop(new)

    def finish(self) -> str:
        """The text that was held back, when no token follows."""
        if self.stopped:
            return ""
        rest = self._until_stop(self._text()[self._pushed :])
        held, self._held = ("", self._held) if self.stopped else (self._held, "")
        return rest + held

    def _text(self) -> str:
        """Of the tokens behind the context."""
        before = self._decode(self._tokens[self._start : self._done])
        return self._decode(self._tokens[self._start :])[len(before) :]

    def _until_stop(self, new: str) -> str:
        """What of the new text, and of what was held back, cannot be the beginning of a stop."""
        text = self._held + new
        if ends := [place for stop in self._stops if (place := text.find(stop)) >= 0]:
            self.stopped = True
            return text[: min(ends)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of a text that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
