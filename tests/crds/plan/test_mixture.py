"""What a run takes from each source of its training data."""

from crds.jobs import nano
from lateen_api.plan import make_plan
from lateen_api.plan.result import PlannedSource

STAGES = (
    "data={configs: {web: {trainUrls: [a]}, books: {trainUrls: [b]}, chat: {trainUrls: [c]}, test: "
    "{validationUrls: [d]}}, trainWeightStages: [{step: 0, weights: {web: 3, books: 1}}, "
    "{step: 75, weights: {books: 0.5, chat: 0.5}}]}"
)


def test_sources_have_their_shares_of_all_stages():
    plan = make_plan(nano(STAGES, "trainer.numTrainSteps=100", "trainer.trainBatchSize=8"), vocab_size=257)

    assert plan.sources == [
        PlannedSource(name="web", share=0.5625, sequences=450),
        PlannedSource(name="books", share=0.3125, sequences=250),
        PlannedSource(name="chat", share=0.125, sequences=100),
    ]


def test_a_stage_behind_the_last_step_gives_nothing():
    plan = make_plan(nano(STAGES, "trainer.numTrainSteps=75", "trainer.trainBatchSize=8"), vocab_size=257)

    assert [(source.name, source.sequences) for source in plan.sources] == [("web", 450), ("books", 150)]


def test_a_job_without_a_mixture_has_one_source():
    plan = make_plan(nano("trainer.numTrainSteps=100"), vocab_size=257)
    assert plan.sources == [PlannedSource(name="", share=1, sequences=3200)]


def test_sequences_add_up_in_each_stage():
    weights = {"web": 1, "books": 1, "chat": 1}
    stages = [{"step": 0, "weights": weights}, {"step": 1, "weights": weights}]
    mixture = {"configs": {name: {"trainUrls": [name]} for name in weights}, "trainWeightStages": stages}
    plan = make_plan(nano(f"data={mixture}", "trainer.numTrainSteps=2", "trainer.trainBatchSize=8"), vocab_size=257)
    assert [source.sequences for source in plan.sources] == [6, 6, 4], "3 + 3 + 2 in both stages"
