"""Training a tokenizer of one's own: byte-level BPE, as GPT-2 has it, in Hugging Face's format.

Every text has tokens, since the 256 bytes are tokens. The same texts give the same tokenizer.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
from lateen_api.files import replace_text
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from lateen_trainer.errors import UserError, of_the_system

_BYTES = 256


def train_bpe(texts: Iterator[str], *, vocab_size: int, special_tokens: Sequence[str]) -> tokenizers.Tokenizer:
    """A byte-level BPE of up to `vocab_size` tokens: fewer where no pair of tokens occurs twice any more.

    Args:
        texts: in any number and length; a piece of text is best cut where a line ends.
        vocab_size: all tokens, special ones included.
        special_tokens: they get the first ids.

    Raises:
        UserError: the vocabulary is too small, or a special token is given twice or empty.
    """
    least = _BYTES + len(special_tokens)
    if vocab_size < least:
        raise UserError(
            f"--vocab-size is {vocab_size:,}: expected at least {least:,}, since each of the {_BYTES} bytes and each "
            "special token has an id. Give a larger one."
        )
    if len(set(special_tokens)) < len(special_tokens) or not all(token.strip() for token in special_tokens):
        raise UserError(
            f"--special-token is {list(special_tokens)!r}: expected different texts that are not blank. Correct them."
        )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: tokenizers.Tokenizer, folder: Path, *, end_of_text: str) -> None:
    """Writes a folder that `spec.data.tokenizer` and transformers load.

    Args:
        tokenizer: what `train_bpe` gave.
        folder: created where it does not exist.
        end_of_text: the special token that ends a document.

    Raises:
        UserError: the folder holds a tokenizer, or cannot be written.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "unk_token": end_of_text,
        "clean_up_tokenization_spaces": False,
    }
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
        # The last: a folder without it is no tokenizer.
        replace_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    except OSError as error:
        raise of_the_system(error) from error


def check_folder(folder: Path) -> None:
    """Raises UserError when a tokenizer would be written over something else."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        what = "a folder that is not empty" if folder.is_dir() else "a file"
        raise UserError(f"--out is {str(folder)!r}, which is {what}: expected a new or empty folder. Name another one.")
