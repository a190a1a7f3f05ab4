"""Models whose numbers do not fit each other are refused, each with what would fit."""

from typing import Any

import pytest
from crds.jobs import nano
from lateen_api.errors import JobError
from lateen_api.plan import make_plan

LLAMA = {"type": "llama", "hiddenDim": 64, "intermediateDim": 96, "numLayers": 2, "numHeads": 4, "seqLen": 32}
QWEN = {**LLAMA, "type": "qwen2", "numKvHeads": 4}


def refusal(model: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(JobError) as caught:
        make_plan(nano(f"model={model}", *overrides))
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"numKvHeads": 3},
            "spec.model.numKvHeads: 3 does not divide spec.model.numHeads, 4: expected a divisor, since as many heads "
            "share each. Use 2 or 4.",
        ),
        (
            {"numKvHeads": 8},
            "spec.model.numKvHeads: 8 does not divide spec.model.numHeads, 4: expected a divisor, since as many heads "
            "share each. Use 4.",
        ),
        ({"hiddenDim": 66}, "spec.model.hiddenDim: 66 is not a multiple of spec.model.numHeads, 4. Use 64 or 68."),
        (
            {"hiddenDim": 60},
            "spec.model.hiddenDim: 60 makes 4 heads whose width, 15, is odd: expected even widths of heads, since "
            "rotary embeddings turn pairs. Use 56 or 64.",
        ),
        (
            {"headDim": 15},
            "spec.model.headDim: 15 is odd: expected even widths of heads, since rotary embeddings turn pairs. Use 14 "
            "or 16.",
        ),
        (
            {"rope": {"type": "linear"}},
            "spec.model.rope.factor: missing: the type linear needs it. Add it.",
        ),
        (
            {"rope": {"type": "llama3", "factor": 8}},
            "spec.model.rope.lowFreqFactor: missing: the type llama3 needs it. Add it.\n"
            "spec.model.rope.highFreqFactor: missing: the type llama3 needs it. Add it.",
        ),
        (
            {"rope": {"type": "linear", "factor": 2, "betaFast": 16}},
            "spec.model.rope.betaFast: is not for the type linear, but for yarn. Remove it, or change "
            "spec.model.rope.type.",
        ),
        (
            {"rope": {"factor": 2}},
            "spec.model.rope.factor: is not for the type default, but for linear, dynamic, yarn and llama3. Remove it, "
            "or change spec.model.rope.type.",
        ),
        (
            {"rope": {"type": "llama3", "factor": 8, "lowFreqFactor": 4, "highFreqFactor": 4}},
            "spec.model.rope.highFreqFactor: 4 is not more than lowFreqFactor, 4. Make it larger.",
        ),
    ],
)
def test_a_llama_whose_numbers_do_not_fit(fields: dict[str, Any], message: str):
    assert refusal({**LLAMA, **fields}) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"layerTypes": ["full_attention"]},
            "spec.model.layerTypes: has 1 entries for spec.model.numLayers, 2: expected one for each layer. Add or "
            "remove some.",
        ),
        (
            {"layerTypes": ["full_attention", "sliding_attention"]},
            "spec.model.layerTypes: has sliding_attention, but there is no spec.model.slidingWindow. Add it, or use "
            "full_attention only.",
        ),
        (
            {"layerTypes": ["full_attention", "full_attention"], "maxWindowLayers": 1},
            "spec.model.layerTypes: says what spec.model.maxWindowLayers, 1, says too. Remove one of the two.",
        ),
    ],
)
def test_windows_that_do_not_fit(fields: dict[str, Any], message: str):
    assert refusal({**QWEN, **fields}) == message


def test_senses_that_do_not_divide_the_width():
    assert refusal({"type": "backpack", "hiddenDim": 64, "numHeads": 4, "numSenses": 12}) == (
        "spec.model.numSenses: 12 does not divide spec.model.hiddenDim, 64: expected a divisor. Use 8 or 16."
    )


def test_senses_can_be_divided_over_devices():
    backpack = {"type": "backpack", "hiddenDim": 96, "numHeads": 4, "numSenses": 6}
    axes = "trainer.tensorParallelAxes=[mlp, heads, senses]"
    assert refusal(backpack, axes, "trainer.modelAxisSize=4", "compute.devicesPerHost=4") == (
        "spec.trainer.modelAxisSize: 4 does not divide the axis senses (numSenses, 6): expected a divisor. Change "
        "either, or take the axis out of spec.trainer.tensorParallelAxes."
    )
    plan = make_plan(nano(f"model={backpack}", axes, "trainer.modelAxisSize=2", "compute.devicesPerHost=4"))
    assert (plan.mesh.data, plan.mesh.model) == (2, 2)


def test_fewer_heads_of_keys_than_devices_that_split_a_layer():
    """Both numbers are named. Levanter copies keys in this case; here heads of keys are what is divided."""
    assert refusal({**LLAMA, "numKvHeads": 2}, "trainer.modelAxisSize=4", "compute.devicesPerHost=4") == (
        "spec.trainer.modelAxisSize: 4 does not divide the axis heads (numKvHeads, 2): expected a divisor. Change "
        "either, or take the axis out of spec.trainer.tensorParallelAxes."
    )


def test_all_heads_of_keys_may_be_on_devices_of_their_own():
    plan = make_plan(
        nano(f"model={ {**LLAMA, 'numKvHeads': 2} }", "trainer.modelAxisSize=2", "compute.devicesPerHost=4")
    )
    assert (plan.mesh.data, plan.mesh.model) == (2, 2)
