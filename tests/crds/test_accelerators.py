"""Shapes, memory and speed of accelerators."""

import pytest
from lateen_api.accelerators import ACCELERATORS, GIB, Accelerator, Slice, advice_on_name, find_accelerator


def accelerator(name: str) -> Accelerator:
    found = find_accelerator(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "topology", "hosts"),
    [
        ("tpu-v4", "2x2x1", 1),
        ("tpu-v4", "8x8x12", 192),
        ("tpu-v4", "8x16x16", 512),
        ("tpu-v5e", "1x1", 1),
        ("tpu-v5e", "16x16", 64),
        ("tpu-v5p", "2x4x4", 8),
        ("tpu-v5p", "16x16x24", 1536),
        ("tpu-v5p", "16x20x28", 2240),
        ("tpu-v6e", "4x8", 8),
        ("tpu7x", "4x4x8", 32),
    ],
)
def test_topology_says_how_many_hosts(name: str, topology: str, hosts: int):
    (only,) = accelerator(name).slices_of(topology)
    assert only.hosts == hosts
    assert only.chips == only.hosts * only.chips_per_host


@pytest.mark.parametrize("name", ["tpu-v5e", "tpu-v6e"])
def test_two_by_four_is_two_hosts_of_four_or_one_of_eight(name: str):
    assert accelerator(name).slices_of("2x4") == (Slice("2x4", 8, 4, 2), Slice("2x4", 8, 8, 1))


@pytest.mark.parametrize(
    ("name", "topology"),
    [
        ("tpu-v5e", "2x2x1"),
        ("tpu-v5p", "2x2"),
        ("tpu-v5p", "8x4x4"),  # sides go from short to long
        ("tpu-v5p", "16x24x24"),  # 144 cubes, 4 more than there can be
        ("tpu-v4", "4x4x12"),
        ("tpu-v4", "2x2x"),
        ("tpu-v4", "0x2x2"),
        ("tpu-v4", "cube"),
        ("nvidia-l4", "2x2"),
    ],
)
def test_topologies_that_do_not_exist(name: str, topology: str):
    assert accelerator(name).slices_of(topology) == ()


def test_tpu7x_has_two_devices_a_chip_that_share_its_memory_and_speed():
    tpu7x = accelerator("tpu7x")
    assert (tpu7x.devices_per_chip, tpu7x.device_memory, tpu7x.peak_flops) == (2, 96 * GIB, 1153.5e12)


def test_every_accelerator_but_cpu_has_label_memory_and_speed():
    for one in ACCELERATORS:
        known = [value is not None for value in (one.label, one.device_memory, one.peak_flops)]
        assert all(known) == any(known) == (one.name != "cpu"), one.name


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("v5p", "Did you mean tpu-v5p?"),
        ("A100", "Did you mean nvidia-tesla-a100 or nvidia-a100-80gb?"),
        ("nvidia-h200", "Did you mean nvidia-h200-141gb?"),
        ("tpu-v5lite", "Did you mean tpu-v5e?"),
        ("tpu", "Name the type: tpu-v4, tpu-v5e, tpu-v5p, tpu-v6e or tpu7x."),
    ],
)
def test_advice_on_a_name_that_is_none(name: str, advice: str):
    assert advice_on_name(name) == advice


def test_near_topologies_come_smallest_first():
    assert accelerator("tpu-v5p").topologies_near("2x2x3") == ["2x2x1", "2x2x2", "2x2x4", "2x4x4"]
