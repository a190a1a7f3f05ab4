"""Samples of what a run's model writes, for people to look at: the same ones whenever the run is done again."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.generate.decode import ENDED, generate
from lateen_trainer.generate.sampling import Sampling
from lateen_trainer.run import Run

FIELD = "spec.trainer.samplePrompts"
TEMPERATURE = 0.8
SAMPLE_TOKENS = 200
_PROMPT_TOKENS = 32


def sample(
    model: Any,
    prompt: Sequence[int],
    *,
    length: int,
    key: PRNGKeyArray,
    temperature: float = TEMPERATURE,
    stop: int | None = None,
    capacity: int | None = None,
) -> np.ndarray:
    """Tokens that the model continues the prompt with, at most `length`: [n] int32, without `stop`. See `generate`."""
    stops = frozenset() if stop is None else frozenset([stop])
    sampling = Sampling(temperature)
    drawn = generate(model, prompt, length=length, key=key, sampling=sampling, stops=stops, capacity=capacity)
    tokens = np.concatenate([np.zeros(0, np.int32), *drawn])
    return tokens[~np.isin(tokens, [ENDED, *stops])]


def sample_of_data(run: Run, model: Any, tokenizer: Tokenizer, tokens: TokenCache) -> str:
    """The beginning of a text that the model has not seen (or of the training text), and how it continues it."""
    context, length = run.spec.model.seq_len, _length(run)
    prompt = next(tokens.blocks())[: min(_PROMPT_TOKENS, context - length)].tolist()
    return tokenizer.decode([*prompt, *_drawn(run, model, tokenizer, prompt, 0)])


def prompts_of(run: Run, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of `spec.trainer.samplePrompts`.

    Raises:
        UserError: one of them leaves no place in the context for its continuation, or has no tokens.
    """
    context = run.spec.model.seq_len
    encoded = [tokens.tolist() for tokens in tokenizer.encode_batch(run.spec.trainer.sample_prompts)]
    for number, tokens in enumerate(encoded):
        if not 1 <= len(tokens) <= context - _length(run):
            raise UserError(
                f"{FIELD}[{number}] has {len(tokens)} tokens: expected 1 to {context - _length(run)}, which with "
                f"{_length(run)} new ones fit into spec.model.seqLen ({context}). Give another prompt."
            )
    return encoded


def samples_of_prompts(
    run: Run, model: Any, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]]
) -> list[dict[str, str]]:
    """How the model continues each prompt of the job: `prompt` and `text`, by the seed of the run."""
    return [
        {"prompt": text, "text": tokenizer.decode(_drawn(run, model, tokenizer, prompt, 1 + number))}
        for number, (text, prompt) in enumerate(zip(run.spec.trainer.sample_prompts, prompts, strict=True))
    ]


def _drawn(run: Run, model: Any, tokenizer: Tokenizer, prompt: Sequence[int], number: int) -> list[int]:
    """The tokens of a sample, by the run's seed and the sample's number. All of them share their programs."""
    key = jax.random.fold_in(jax.random.key(run.spec.trainer.seed), number)
    context = run.spec.model.seq_len
    return sample(model, prompt, length=_length(run), key=key, stop=tokenizer.eos_id, capacity=context).tolist()


def _length(run: Run) -> int:
    """New tokens of a sample."""
    return min(SAMPLE_TOKENS, run.spec.model.seq_len // 2)
