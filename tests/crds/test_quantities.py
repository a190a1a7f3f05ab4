"""Kubernetes' quantities."""

import pytest
from lateen_api.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("500m", 0.5), ("1.5", 1.5), (".5", 0.5), ("16Gi", 2**34), ("2G", 2e9), ("1Ei", 2**60), ("1E", 1e18),
     ("2e3", 2000), ("1E3", 1000)],
)  # fmt: skip
def test_quantity_is_read(text: str, value: float):
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "lots", "16 Gi", "16gi", "-1", "1KiB"])
def test_text_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="is no quantity such as 500m, 4 or 16Gi"):
        parse_quantity(text)
