"""What is generated for the chart is current, and says something of every value."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "charts"))

from generate import generated, read_values, schema, table

EXAMPLE = """
# The image.
image:
  # Its tag.
  # @schema {"type": ["string", "number"]}
  tag: ""
# Where.
# @schema {"items": {"type": "string"}}
namespaces: []
# Bounds of | memory.
resources:
  limits: {memory: 1Gi}
# How.
# @schema {"enum": ["a", "b"]}
mode: a
"""


@pytest.mark.parametrize("file", generated(), ids=lambda file: file.name)
def test_generated_files_are_current(file: Path):
    assert file.read_text() == generated()[file], f"{file.name} is stale: make crd"


def test_the_schema_of_a_value_is_its_defaults_type_and_what_its_comment_adds():
    shape = schema(read_values(EXAMPLE))["properties"]
    assert shape["image"] == {
        "type": "object",
        "description": "The image.",
        "additionalProperties": False,
        "properties": {"tag": {"type": ["string", "number"], "description": "Its tag."}},
    }
    assert shape["namespaces"] == {"type": "array", "description": "Where.", "items": {"type": "string"}}
    assert shape["resources"] == {"type": "object", "description": "Bounds of | memory."}
    assert shape["mode"] == {"description": "How.", "enum": ["a", "b"]}


def test_the_table_has_a_row_per_value():
    assert table(read_values(EXAMPLE)).splitlines()[2:] == [
        '| `image.tag` | string or number | `""` | Its tag. |',
        "| `namespaces` | array | `[]` | Where. |",
        '| `resources` | object | `{"limits": {"memory": "1Gi"}}` | Bounds of \\| memory. |',
        '| `mode` | string | `"a"` | How. One of `a`, `b`. |',
    ]


def test_a_value_without_a_comment_is_an_error():
    with pytest.raises(ValueError, match=r"values.yaml: a\.c has no comment"):
        read_values("# A.\na:\n  # B.\n  b: 1\n  c: 2\n")
