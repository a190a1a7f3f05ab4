"""Which files of a repository a split is: by its card, by names, and in the hub's conversion to Parquet."""

import pytest
from lateen_trainer.data.hub_layout import LayoutError, card_configs, choose_files, has_script


def card(block: str) -> str:
    return f"---\n{block}\n---\n# Title\n"


@pytest.mark.parametrize(
    ("paths", "split", "chosen"),
    [
        (["train.jsonl", "test.jsonl", "README.md"], "train", ["train.jsonl"]),
        (["data/train-0-of-2.parquet", "data/val-0-of-1.parquet"], "validation", ["data/val-0-of-1.parquet"]),
        (["train/b.parquet", "train/a.parquet", "dev/test.parquet"], "train", ["train/a.parquet", "train/b.parquet"]),
        (["train/b.parquet", "dev/test.parquet"], "validation", ["dev/test.parquet"]),
        (["a.jsonl.gz", "b.jsonl.gz", ".hidden.jsonl", "dataset_infos.json"], "train", ["a.jsonl.gz", "b.jsonl.gz"]),
        (["brain.jsonl", "contest.jsonl"], "train", ["brain.jsonl", "contest.jsonl"]),
    ],
)
def test_names_tell_the_split(paths, split, chosen):
    assert choose_files(paths, [], None, split) == chosen


@pytest.mark.parametrize(
    ("data_files", "chosen"),
    [
        ("en/*.jsonl", ["en/a.jsonl", "en/b.jsonl"]),
        ("[en/a.jsonl, fr/*]", ["en/a.jsonl", "fr/c.jsonl"]),
        ("{train: en/a.jsonl, test: fr/*}", ["en/a.jsonl"]),
        ("[{split: train, path: [en/b.jsonl]}, {split: train, path: fr/c.jsonl}]", ["en/b.jsonl", "fr/c.jsonl"]),
        ('"**/*.jsonl"', ["en/a.jsonl", "en/b.jsonl", "fr/c.jsonl"]),
    ],
)
def test_all_forms_of_data_files_are_understood(data_files, chosen):
    configs = card_configs(card(f"configs:\n- config_name: default\n  data_files: {data_files}"))
    assert choose_files(["en/a.jsonl", "en/b.jsonl", "fr/c.jsonl"], configs, None, "train") == chosen


def test_a_configuration_may_be_a_folder():
    configs = card_configs(card("configs:\n- {config_name: a, data_dir: one}\n- {config_name: b, data_dir: two}"))
    paths = ["one/train.jsonl", "two/train.jsonl", "two/test.jsonl"]
    assert choose_files(paths, configs, "b", "train") == ["two/train.jsonl"]


@pytest.mark.parametrize(
    "text", ["", "# Title", card("license: mit"), card("configs:\n- {config_name: a, drop_labels: true}")]
)
def test_a_card_without_files_has_no_configurations(text):
    assert card_configs(text) == []


CONVERTED = ["en/train/0000.parquet", "en/train/0001.parquet", "en/test/0000.parquet", "fr/partial-train/0000.parquet"]


def test_the_conversion_to_parquet_has_a_folder_for_each_split():
    assert choose_files(CONVERTED, [], "en", "train", converted=True) == CONVERTED[:2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: choose_files(CONVERTED, [], None, "train", converted=True),
            "has several configurations: expected one of en, fr in spec.data.name",
        ),
        (
            lambda: choose_files(CONVERTED, [], "fr", "train", converted=True),
            "was converted to Parquet in part only (fr/partial-train): expected all of 'train'",
        ),
        (
            lambda: choose_files([], [], None, "train", converted=True),
            "has no Parquet files in its branch refs/convert/parquet",
        ),
        (lambda: choose_files(["a.py"], [], None, "train"), "has no files of a kind that is known to hold data"),
        (
            lambda: choose_files(["a.jsonl"], [], "en", "train"),
            "has no configuration 'en': it has one only, without a name. Leave spec.data.name out",
        ),
        (
            lambda: choose_files(["a.jsonl"], [{"config_name": "x", "data_files": "b*"}], None, "train"),
            "has a card that names 'b*' for the split 'train', which matches no file of it",
        ),
        (
            lambda: card_configs(card("configs: {a: b}")),
            "has a README.md whose `configs` are no list of mappings with config_name",
        ),
        (
            lambda: choose_files(["a.jsonl"], [{"config_name": "x", "data_files": [7]}], None, "train"),
            "has a card whose `data_files` are neither patterns nor a list of split and path",
        ),
    ],
)
def test_what_is_not_there_is_said(call, message):
    with pytest.raises(LayoutError) as raised:
        call()
    assert str(raised.value) == message


def test_a_script_has_the_name_of_the_data_set():
    assert has_script(["words.py"], "org/words")
    assert not has_script(["convert.py"], "org/words")
