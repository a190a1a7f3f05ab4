"""Sizes of vocabularies without the tokenizer's library."""

import json
from pathlib import Path

import pytest
from crds.jobs import nano
from lateen_api.plan import known_vocab_size, make_plan, read_vocab_size
from lateen_api.plan.vocabulary import padded_vocab_size
from lateen_api.spec import TrainerSpec


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


@pytest.mark.parametrize(
    ("entries", "model_axis_size", "padded"),
    [
        (257, 1, 384),
        (257, 2, 384),
        (384, 8, 384),
        (50_257, 4, 50_304),
        (257, 3, 384),
        (400, 6, 768),
        (128_256, 8, 128_256),
    ],
)
def test_a_divided_vocabulary_is_padded_to_the_same_size_at_every_power_of_two(entries, model_axis_size, padded):
    axes = ["mlp", "heads", "vocab"]
    trainer = TrainerSpec(model_axis_size=model_axis_size, tensor_parallel_axes=axes)

    assert padded_vocab_size(entries, trainer) == padded
    assert padded % model_axis_size == 0
    assert padded_vocab_size(entries, TrainerSpec(model_axis_size=model_axis_size)) == entries


def test_the_plan_divides_a_padded_vocabulary_and_counts_the_entries_alone():
    overrides = ("trainer.modelAxisSize=2", "compute.devicesPerHost=2")
    whole = make_plan(nano(*overrides))
    divided = make_plan(nano(*overrides, "trainer.tensorParallelAxes=[mlp, heads, vocab]"))

    assert (divided.vocab_size, divided.padded_vocab_size) == (257, 384)
    assert whole.padded_vocab_size == 257
    assert divided.parameters == whole.parameters
    assert divided.flops_per_token == whole.flops_per_token
    # 257 entries on both devices, or 192 on each; float32.
    assert whole.memory.parameters - divided.memory.parameters == (257 - 192) * 128 * 4


def test_a_vocabulary_that_is_not_padded_keeps_its_axis():
    assert make_plan(nano()).padded_vocab_size == 257
