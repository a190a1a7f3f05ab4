"""What a run's model writes at the run's end."""

import json

import pytest
from lateen_api.termination import ExitCode
from small_runs import SmallRuns

PROMPTS = ("The sea ", "spec.")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> SmallRuns:
    runs = SmallRuns(tmp_path_factory.mktemp("samples"), seq_len=32, batch_size=16, steps=3)
    runs.text.write_text("The sea is wide and blue. " * 400)
    return runs


def test_prompts_are_continued_by_the_seed_of_the_run(runs):
    asked = f"spec.trainer.samplePrompts={json.dumps(list(PROMPTS))}"
    for name in ("one", "again"):
        assert runs.run(name, asked).exit_code == ExitCode.DONE

    summary = runs.summary("one")
    assert [sample["prompt"] for sample in summary["samples"]] == list(PROMPTS)
    assert all(sample["text"] for sample in summary["samples"])
    assert runs.summary("again")["samples"] == summary["samples"]
    assert summary["sample"].startswith("The sea is wide")


def test_a_prompt_that_leaves_no_place_is_refused_before_the_training(runs):
    outcome = runs.run("long", f"spec.trainer.samplePrompts={json.dumps(['x', 'y' * 17])}")

    assert outcome.exit_code == ExitCode.USER_ERROR
    assert outcome.message == (
        "spec.trainer.samplePrompts[1] has 17 tokens: expected 1 to 16, which with 16 new ones fit into "
        "spec.model.seqLen (32). Give another prompt."
    )
