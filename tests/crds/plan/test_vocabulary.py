"""Sizes of vocabularies without the tokenizer's library."""

import json
from pathlib import Path

import pytest
from lateen_api.plan import known_vocab_size, read_vocab_size


@pytest.mark.parametrize(
    ("tokenizer", "size"),
    [("bytes", 257), ("gpt2", 50_257), ("openai-community/gpt2-xl", 50_257), ("team/gpt2", None), ("/gpt2", None)],
)
def test_vocabularies_known_by_name(tokenizer: str, size: int | None):
    assert known_vocab_size(tokenizer) == size


def test_highest_token_of_a_file_counts(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]}))
    assert read_vocab_size(str(path)) == 3
    assert read_vocab_size(str(tmp_path)) == 3


def test_unigram_vocabulary_is_a_list(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": [["a", -1.0], ["b", -2.0]]}}))
    assert read_vocab_size(str(path)) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"vocab": 3}}', '{"model": {"vocab": {}}}'])
def test_file_that_is_no_tokenizer_has_no_size(tmp_path: Path, content: str):
    (tmp_path / "tokenizer.json").write_text(content)
    assert read_vocab_size(str(tmp_path)) is None


def test_missing_file_has_no_size(tmp_path: Path):
    assert read_vocab_size(str(tmp_path / "tokenizer.json")) is None
