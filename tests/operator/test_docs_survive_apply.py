"""What the documentation shows means the same by every way of applying it.

`kubectl apply` without --server-side computes a merge patch, in which null stands for "take out": fields that are null
in the file never reach the API server. So no example may rest on one.
"""

from typing import Any

import pytest
from documented import FILES, examples


def as_applied(value: Any) -> Any:
    """What client-side apply sends."""
    if isinstance(value, dict):
        return {key: as_applied(one) for key, one in value.items() if one is not None}
    return [as_applied(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_examples_mean_the_same_under_client_side_apply(path):
    for example in examples(path):
        assert as_applied(example) == example


def test_the_examples_are_found():
    found = [example for path in FILES for example in examples(path)]
    assert len(found) > 10
    assert any("privileged" in str(example) for example in found)
