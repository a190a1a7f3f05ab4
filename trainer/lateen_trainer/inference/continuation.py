"""How a model continues a prompt: the samples, and their text while it comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import PRNGKeyArray

from lateen_trainer.errors import UserError
from lateen_trainer.generate.decode import generate
from lateen_trainer.generate.sampling import Sampling
from lateen_trainer.generate.text import TextStream
from lateen_trainer.inference.source import Source

DEFAULT_TOKENS = 200

End = Literal["endOfText", "stop", "length"]


@dataclass(frozen=True)
class Request:
    """What is to be written."""

    prompt: Sequence[int]
    length: int
    """Most new tokens."""

    sampling: Sampling
    samples: int
    stops: Sequence[str]


@dataclass
class Continuation:
    """A sample."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    """With the one that ends the text, and those of a stop."""

    end: End | None = None
    """Why it ended; None: it has not."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"text": self.text, "tokens": self.tokens, "end": self.end}


def tokens_to_write(source: Source, prompt: Sequence[int], asked: int | None) -> int:
    """Most new tokens, by `--max-tokens` and the model's context.

    Raises:
        UserError: they do not fit.
    """
    limit = source.model.config.longest_context
    if limit is None:
        return asked or DEFAULT_TOKENS
    room = limit - len(prompt)
    if room < 1:
        raise UserError(
            f"the prompt has {len(prompt)} tokens: expected at most {limit - 1}, as the model has {limit} positions. "
            "Shorten it."
        )
    if asked is not None and asked > room:
        raise UserError(
            f"--max-tokens is {asked}: expected at most {room}, as the prompt has {len(prompt)} tokens and the model "
            f"{limit} positions. Lower it, or shorten the prompt."
        )
    return asked or min(DEFAULT_TOKENS, room)


def continuations(
    source: Source, request: Request, key: PRNGKeyArray, show: Callable[[str], None]
) -> list[Continuation]:
    """The samples of a request.

    Args:
        show: is called with each part of the first sample's text, as it comes.
    """
    samples = [Continuation() for _ in range(request.samples)]
    streams = [TextStream(source.tokenizer.decode, request.prompt, request.stops) for _ in samples]
    drawn = generate(
        source.model,
        request.prompt,
        length=request.length,
        key=key,
        sampling=request.sampling,
        samples=request.samples,
        stops=source.ends,
        vocab_size=source.tokenizer.vocab_size,
    )
    for tokens in drawn:
        for number, token in enumerate(tokens.tolist()):
            if samples[number].end is None:
                part = _push(samples[number], streams[number], token, source.ends)
                if number == 0:
                    show(part)
        if all(sample.end is not None for sample in samples):
            break
    for number, sample in enumerate(samples):
        if sample.end is None:
            part = _end(sample, streams[number], "length")
            if number == 0:
                show(part)
    return samples


def _push(sample: Continuation, stream: TextStream, token: int, ends: frozenset[int]) -> str:
    """Adds a token to a sample; the new text."""
    sample.tokens.append(token)
    if token in ends:
        return _end(sample, stream, "endOfText")
    part = stream.push(token)
    sample.text += part
    if stream.stopped:
        sample.end = "stop"
    return part


def _end(sample: Continuation, stream: TextStream, why: End) -> str:
    """Ends a sample; the text that was held back."""
    rest = stream.finish()
    sample.text += rest
    sample.end = "stop" if stream.stopped else why
    return rest
