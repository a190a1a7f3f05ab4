"""Small corpora, a small tokenizer, and a cache made of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import tokenizers
from lateen_api.spec import DataSpec
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

SENTENCES = [
    f"Sentence {number} of the corpus speaks of {number % 7} ships and {number % 3} sails.\n" for number in range(300)
]
"""Text with repetition enough for byte-pair encoding to learn something."""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of ten text files, 30 sentences each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(10):
        (folder / f"part-{number}.txt").write_text("".join(SENTENCES[30 * number : 30 * number + 30]))
    return folder


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level BPE of 512 tokens, in Hugging Face's format."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    folder = tmp_path_factory.mktemp("bpe")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def nobody() -> Iterator[int]:
    """The test runs as a user who owns nothing; yields the user's number."""
    for url in ("file:///", "memory://"):
        fsspec.url_to_fs(url)  # imports modules, which nobody may not
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield os.geteuid()
    os.seteuid(user)


@pytest.fixture
def layout() -> Layout:
    """Shards so small that a few files fill several."""
    return Layout(chunk=64, shard=1024)


@pytest.fixture
def cache(corpus: Path, tmp_path: Path, layout: Layout):
    """The corpus as bytes, on this machine."""
    spec = DataSpec(tokenizer="bytes", train_urls=[f"{corpus}/*.txt"])
    return open_or_build_cache(
        spec,
        "train",
        ByteTokenizer(),
        str(tmp_path / "cache"),
        is_builder=True,
        progress=lambda _: None,
        layout=layout,
    )
