"""YAML as kubectl reads it, with every mistake located.

PyYAML follows YAML 1.1: it takes `6e-4` for a text, `1:30` for ninety, a date for a date, of two equal keys the last,
and the keys `no` and `1` for a truth value and a number. Here the first is a number, the next two are texts, and the
others are errors.
"""

import re
from typing import Any

import yaml

from lateen_api.errors import JobError
from lateen_api.wording import show

_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNKNOWN_TAG = re.compile(r"could not determine a constructor for the tag '(.*)'")
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|0o[0-7]+|[1-9][0-9_]*)")


_TEXT, _VALUE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:value"


class _WrongError(yaml.constructor.ConstructorError):
    """Its problem is a whole sentence with what to do."""


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) else type(value).__name__


def _quote(text: str) -> str:
    return f'Write it in quotes: "{text}".'


class _Loader(yaml.SafeLoader):
    """SafeLoader with the numbers of YAML 1.2, without dates, and with texts as keys, each once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            # Merge keys (`<<`) may stand beside keys that override what they bring in.
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                raise _WrongError(None, None, self._no_key(key), key.start_mark)
            if key.value in first:
                problem = (
                    f"key {show(key.value)} stands twice in one mapping, first in line {first[key.value].line + 1}. "
                    "Remove one of the two."
                )
                raise _WrongError(None, None, problem, key.start_mark)
            first[key.value] = key.start_mark
        return super().construct_mapping(node, deep=deep)

    def _no_key(self, key: yaml.Node) -> str:
        """What is wrong with a key that is no text, and what to do."""
        if isinstance(key, yaml.MappingNode):
            return "a mapping cannot be a key. Put what is meant as text in quotes; fill a template ({{ … }}) in first."
        if isinstance(key, yaml.SequenceNode):
            return "a list cannot be a key: expected a text. Put it in quotes."
        if not key.value:
            return "a key is missing in front of the colon: expected a text. Add it."
        if key.tag == _VALUE:
            return f"the key `{key.value}` has a meaning of its own in YAML: expected a text. {_quote(key.value)}"
        value = self.construct_object(key, deep=True)
        meant = show(value) if value is None or isinstance(value, bool) else f"the {_kind(value)} {show(value)}"
        return f"YAML reads the key `{key.value}` as {meant}: expected a text. {_quote(key.value)}"

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 8) if re.fullmatch(r"[-+]?0[0-7]+", text) else int(text, 0)


# SafeLoader's rules for plain scalars but those for numbers and dates, then ours. The order counts: what both
# patterns match is an integer.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"({_INTEGER.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"({_FLOAT.pattern})$"), list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def read_documents(text: str, where: str) -> list[Any]:
    """The documents of a YAML text, empty ones left out.

    Args:
        text: YAML.
        where: what the text is called in messages; a file name, usually.

    Raises:
        JobError: the text is no YAML, or a mapping has one key twice; line and column are named.
    """
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
        _check_plain(documents, where, seen=set(), inside=frozenset())
    except JobError:
        raise  # a ValueError too
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise JobError(
            where,
            f"line {line} holds the character #x{error.character:04x}, which YAML does not allow. Remove it.",
        ) from error
    except yaml.MarkedYAMLError as error:
        raise JobError(where, f"{_place(error)}{_problem(error)}") from error
    except RecursionError as error:
        raise JobError(where, "is nested too deeply: expected a job's few levels. Check the brackets.") from error
    except ValueError as error:
        raise JobError(where, f"holds a number that cannot be read ({error}). Write it in decimal.") from error
    return documents


def read_value(text: str, where: str) -> Any:
    """The value of one line of YAML, such as `3`, `6e-4`, `[a, b]`; an empty text is null.

    Raises:
        JobError: the text is not one YAML value.
    """
    documents = read_documents(text, where)
    if len(documents) > 1:
        raise JobError(where, f"{show(text)} is more than one YAML value: expected one.")
    return documents[0] if documents else None


def _check_plain(value: Any, where: str, *, seen: set[int], inside: frozenset[int]) -> None:
    """Refuses what JSON has no form for: binary data, sets, and anchors that contain themselves."""
    if not isinstance(value, dict | list):
        if value is not None and not isinstance(value, str | int | float):
            kind = type(value).__name__
            raise JobError(where, f"{show(value)} is of YAML's type {kind}: expected text, numbers, lists or mappings.")
        return
    if id(value) in inside:
        raise JobError(where, "holds an anchor (&…) that contains itself: write the value out.")
    # An anchor that is used often is looked at once, or a few lines could keep this busy for hours.
    if id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            _check_plain(item, where, seen=seen, inside=inside | {id(value)})


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or str(error)
    if isinstance(error, _WrongError):
        return problem
    if match := _UNKNOWN_TAG.search(problem):
        if match[1] == _VALUE:
            return f"`=` has a meaning of its own in YAML: expected a text. {_quote('=')}"
        tag = match[1].replace("tag:yaml.org,2002:", "!!")
        return f"the tag {tag} is unknown: expected plain YAML. Remove it, or put a text that begins so in quotes."
    advice = "Check the indentation, colons, quotes and brackets there."
    if "'\\t'" in problem:
        advice = "Indent with spaces: YAML allows no tabs."
    return f"not valid YAML: {problem}. {advice}"
