"""Large numbers as people read them."""

import pytest
from lateen_api.plan.units import bytes_, count, flops


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count(257), "257"),
        (count(999), "999"),
        (count(12_345), "12.3 k"),
        (count(999_960), "1.0 M"),
        (count(124_439_808), "124.4 M"),
        (count(3_276_800_000), "3.3 G"),
        (flops(500), "500 FLOP"),
        (flops(855_765_504), "855.8 MFLOP"),
        (bytes_(512), "512 B"),
        (bytes_(2_040_109_466), "1.9 GiB"),
    ],
)
def test_number_with_unit(text: str, expected: str):
    assert text == expected
