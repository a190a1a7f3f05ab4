"""YAML as kubectl reads it."""

import math
from typing import Any

import pytest
from lateen_api.errors import JobError
from lateen_api.yaml_reader import read_documents, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6e-4", 0.0006),
        ("1e5", 100_000.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("6e-4x", "6e-4x"),
        ("1:30", "1:30"),
        ("2030-01-31", "2030-01-31"),
        ("1.2.3", "1.2.3"),
        ("'3'", "3"),
        ("yes", True),
        ("", None),
        ("[a, 2]", ["a", 2]),
    ],
)
def test_scalars_have_the_types_that_kubectl_gives_them(text: str, value: Any):
    read = read_value(text, "here")
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 2\n  c: 3", "line 4, column 3: key 'c' stands twice in one mapping, first in line 3. "
         "Remove one of the two."),
        ("a: b: c", "line 1, column 5: not valid YAML: mapping values are not allowed here. "
         "Check the indentation, colons, quotes and brackets there."),
        ("a:\n\t- b", "line 2, column 1: not valid YAML: found character '\\t' that cannot start any token. "
         "Indent with spaces: YAML allows no tabs."),
        ("[1]: 2", "line 1, column 1: a list cannot be a key: expected a text. Put it in quotes."),
        ("a:\n  name: {{ name }}",
         "line 2, column 10: a mapping cannot be a key. Put what is meant as text in quotes; "
         "fill a template ({{ … }}) in first."),
        ("a: 1\nno: 2",
         'line 2, column 1: YAML reads the key `no` as false: expected a text. Write it in quotes: "no".'),
        ("on:\n  b: 1",
         'line 1, column 1: YAML reads the key `on` as true: expected a text. Write it in quotes: "on".'),
        ("a: [{b: {yes: 1}}]",
         'line 1, column 10: YAML reads the key `yes` as true: expected a text. Write it in quotes: "yes".'),
        ("OFF: 1",
         'line 1, column 1: YAML reads the key `OFF` as false: expected a text. Write it in quotes: "OFF".'),
        ("~: 1", 'line 1, column 1: YAML reads the key `~` as null: expected a text. Write it in quotes: "~".'),
        ("null: 1",
         'line 1, column 1: YAML reads the key `null` as null: expected a text. Write it in quotes: "null".'),
        ("1: 2",
         'line 1, column 1: YAML reads the key `1` as the number 1: expected a text. Write it in quotes: "1".'),
        ("0x10: 2",
         'line 1, column 1: YAML reads the key `0x10` as the number 16: expected a text. Write it in quotes: "0x10".'),
        ("1.5: 2",
         'line 1, column 1: YAML reads the key `1.5` as the number 1.5: expected a text. Write it in quotes: "1.5".'),
        ("no: 1\nno: 2",
         'line 1, column 1: YAML reads the key `no` as false: expected a text. Write it in quotes: "no".'),
        ("?\n: 1", "line 1, column 2: a key is missing in front of the colon: expected a text. Add it."),
        ("=: 1",
         'line 1, column 1: the key `=` has a meaning of its own in YAML: expected a text. Write it in quotes: "=".'),
        ("a: =", 'line 1, column 4: `=` has a meaning of its own in YAML: expected a text. Write it in quotes: "=".'),
        ("a: !Ref b", "line 1, column 4: the tag !Ref is unknown: expected plain YAML. Remove it, or put a text that "
         "begins so in quotes."),
        ("a: 1\nb: \x07", "line 2 holds the character #x0007, which YAML does not allow. Remove it."),
        ("&a [*a]", "holds an anchor (&…) that contains itself: write the value out."),
        ("[" * 500, "is nested too deeply: expected a job's few levels. Check the brackets."),
        ("!!set {a}", "\"{'a'}\" is of YAML's type set: expected text, numbers, lists or mappings."),
    ],
)  # fmt: skip
def test_mistakes_are_located(text: str, message: str):
    with pytest.raises(JobError) as caught:
        read_documents(text, "job.yaml")
    assert str(caught.value) == f"job.yaml: {message}"


def test_code_in_tags_is_not_run():
    with pytest.raises(JobError, match=r"the tag !!python/object/apply:os.getcwd is unknown: expected plain YAML"):
        read_documents("!!python/object/apply:os.getcwd []", "job.yaml")


def test_anchors_and_merge_keys_work():
    documents = read_documents("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3", "job.yaml")
    assert documents == [{"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}}]


def test_empty_documents_are_left_out():
    assert read_documents("---\n---\na: 1\n---\n", "job.yaml") == [{"a": 1}]


def test_anchors_used_a_billion_times_are_looked_at_once():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    (document,) = read_documents("\n".join(lines), "job.yaml")
    assert list(document) == [f"a{i}" for i in range(30)]


def test_keys_that_look_like_something_else_are_texts_in_quotes_and_dates_are_texts_anyway():
    text = "\"no\": 1\n'1': 2\n2026-01-01: 3\ny: 4\nn: 5\n1:30: 6\n"
    assert read_documents(text, "f") == [{"no": 1, "1": 2, "2026-01-01": 3, "y": 4, "n": 5, "1:30": 6}]
