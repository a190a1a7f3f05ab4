"""A few cases of `make reproducibility`, one for each thing that could go wrong in a way of its own.

Each trains twelve steps one to three times in processes of their own. Nothing smaller shows that a fault at any moment,
in any process, on any layout leaves the bits alone: it takes the data's order, the step, the checkpoint and the
agreement of processes together.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from reproducibility.bits import Bits
from reproducibility.cases import Case, Layout, Numerics, Scenario, reference
from reproducibility.scenarios import run_case

FLOAT32 = Numerics("float32", 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[[Case], Bits]:
    """Runs a case; tokens are made and programs compiled once for all of them."""
    work = tmp_path_factory.mktemp("reproducibility")
    programs = Path.home() / ".cache" / "lateen" / "tests-reproducibility"
    programs.mkdir(parents=True, exist_ok=True)
    (work / "programs").symlink_to(programs)
    return lambda case: run_case(case, work / "runs" / str(case), work)


@pytest.fixture(scope="module")
def undisturbed(run) -> Bits:
    """One process with two devices, left alone."""
    bits = run(reference(FLOAT32))
    assert bits.losses[-1] < bits.losses[0]
    return bits


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("processes", "devices", "scenario"),
    [
        (1, 1, Scenario.UNDISTURBED),
        (4, 4, Scenario.UNDISTURBED),
        (1, 2, Scenario.STOPPED),
        (2, 4, Scenario.KILLED),
        (2, 4, Scenario.KILLED_SAVING),
        (2, 4, Scenario.RESIZED),
    ],
)
def test_the_bits_are_those_of_the_undisturbed_run(run, undisturbed, processes, devices, scenario):
    bits = run(Case(FLOAT32, Layout(processes, devices), scenario))

    assert bits == undisturbed, bits.difference(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_llama_with_grouped_heads_on_a_mixture_of_packed_documents_has_the_same_bits_on_two_processes(run):
    numerics = Numerics("float32", 1, "llama", data="mixture")

    one, two = run(reference(numerics)), run(Case(numerics, Layout(2, 4), Scenario.UNDISTURBED))

    assert two == one, two.difference(one)


def test_a_last_bit_anywhere_is_a_difference():
    one = Bits([1.0, 2.0], [0.5, 0.25], 3.0, "ab", "cd")

    assert one.difference(one) is None
    assert one.difference(Bits([1.0, 2.0000000000000004], [0.5, 0.25], 3.0, "ab", "cd")) == "loss from step 2"
    assert one.difference(Bits([1.0, 2.0], [0.5, 0.25], 3.0, "ab", "ce")) == "state"
