"""Steps of the parts of a run."""

import pytest
from crds.jobs import nano
from lateen_api.plan import make_plan, steps_of


@pytest.mark.parametrize(
    ("length", "steps"), [(0.0, 0), (0.01, 10), (0.29, 290), (0.9999, 1000), (1.0, 1), (250.0, 250)]
)
def test_length_is_a_fraction_below_one_and_a_number_of_steps_from_one_on(length: float, steps: int):
    assert steps_of(length, 1000) == steps


@pytest.mark.parametrize(
    ("schedule", "steps"), [("cosine", 900), ("linear", 900), ("constant", 0), ("inv_sqrt", 0), ("wsd", 200)]
)
def test_decay_lasts_as_the_schedule_has_it(schedule: str, steps: int):
    plan = make_plan(
        nano("trainer.numTrainSteps=1000", f"optimizer={{lrSchedule: {schedule}, warmup: 100, decay: 0.2}}")
    )
    assert (plan.warmup_steps, plan.decay_steps) == (100, steps)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_without_a_warm_up_the_first_step_has_the_peak_and_the_others_decay(schedule: str):
    optimizer = f"optimizer={{lrSchedule: {schedule}, warmup: 0, decay: 1000}}"
    assert make_plan(nano("trainer.numTrainSteps=1000", optimizer)).decay_steps == 999


@pytest.mark.parametrize(("steps", "evaluations"), [(1000, 1), (1001, 2), (999, 1), (5000, 5)])
def test_there_is_an_evaluation_every_so_often_and_one_at_the_end(steps: int, evaluations: int):
    plan = make_plan(nano("data.validationUrls=[val.txt]", f"trainer.numTrainSteps={steps}"))
    assert plan.evaluations == evaluations


def test_without_validation_data_there_is_no_evaluation():
    assert make_plan(nano()).evaluations == 0
