"""Sizes of vocabularies, as far as they are known without the tokenizer's library, and of the parameters' axis."""

import json
import math
from pathlib import Path

from lateen_api.spec import TrainerSpec

ASSUMED_VOCAB_SIZE = 50_257
"""Entries that are assumed of a vocabulary that is not known: those of GPT-2's."""

PADDED_MULTIPLE = 128
"""Entries of a divided vocabulary are padded to a multiple of this, the lanes of a TPU's vector unit. Shapes are the
same for every power of two, up to this one, of devices that share a layer."""

_GPT2 = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")


def known_vocab_size(tokenizer: str) -> int | None:
    """Entries of a tokenizer's vocabulary by its name; None: the name is not known."""
    if tokenizer == "bytes":
        return 257
    if tokenizer.removeprefix("openai-community/") in _GPT2:
        return 50_257
    return None


def read_vocab_size(tokenizer: str) -> int | None:
    """Entries of a vocabulary from a local `tokenizer.json`, or the folder it lies in; None: there is none that can
    be read. Counts what the library counts: the highest number of a token, and one."""
    path = Path(tokenizer)
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        # Unigram models list [token, score]; the others map tokens to numbers.
        numbers = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = [token["id"] for token in content.get("added_tokens", [])]
        return max([*numbers, *added]) + 1
    except (OSError, ValueError, KeyError, TypeError):
        return None


def padded_vocab_size(vocab_size: int, trainer: TrainerSpec) -> int:
    """Entries of the vocabulary's axis in the parameters. Where `trainer.tensorParallelAxes` has vocab they are a
    multiple of 128 and of `trainer.modelAxisSize`, and as many as the tokenizer's otherwise."""
    if "vocab" not in trainer.tensor_parallel_axes:
        return vocab_size
    multiple = math.lcm(PADDED_MULTIPLE, trainer.model_axis_size)
    return -(-vocab_size // multiple) * multiple
