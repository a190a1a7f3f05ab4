"""What process 0 reports."""

import json

from lateen_api.progress import Phase, Progress


def test_progress_survives_the_round_trip():
    progress = Progress(
        phase=Phase.TRAINING,
        since=1_900_000_000.25,
        step=120,
        of=1000,
        tokens=983_040,
        loss=3.25,
        validation_loss=3.5,
        tokens_per_second=20_000.0,
        mfu=0.41,
        last_checkpoint="gs://runs/nano/step-100",
        last_checkpoint_step=100,
        detail="steady",
    )
    assert Progress.model_validate_json(progress.model_dump_json(by_alias=True)) == progress


def test_names_are_camel_case_in_json():
    fields = json.loads(Progress(phase=Phase.SAVING, since=0, last_checkpoint_step=3).model_dump_json(by_alias=True))
    assert (fields["phase"], fields["lastCheckpointStep"]) == ("Saving", 3)


def test_fields_of_a_newer_trainer_are_passed_over():
    assert Progress.model_validate({"phase": "Done", "since": 0, "mood": "good"}) == Progress(phase=Phase.DONE, since=0)
