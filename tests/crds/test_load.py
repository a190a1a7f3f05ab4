"""Jobs from files and texts."""

import os
from pathlib import Path

import pytest
from crds.jobs import NANO, nano
from lateen_api.errors import JobError
from lateen_api.load import LARGEST_FILE, load_job, parse_job
from lateen_api.spec import WandbSpec


def message_of(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        load_job(path)
    return str(caught.value)


def message_of_text(text: str) -> str:
    with pytest.raises(JobError) as caught:
        parse_job(text, "job.yaml")
    return str(caught.value)


def test_job_is_read_from_a_file(tmp_path: Path):
    (tmp_path / "job.yaml").write_text(NANO)
    assert load_job(tmp_path / "job.yaml") == nano()


def test_resolved_job_as_json_is_read_back(tmp_path: Path):
    job = nano("optimizer.epsilon=1e-8", "checkpoint.keep=[{every: 100}]")
    (tmp_path / "job.json").write_text(job.model_dump_json(by_alias=True))
    assert load_job(str(tmp_path / "job.json")) == job


def test_byte_order_mark_is_skipped(tmp_path: Path):
    (tmp_path / "job.yaml").write_bytes(b"\xef\xbb\xbf" + NANO.encode())
    assert load_job(tmp_path / "job.yaml") == nano()


def test_missing_file_is_named_with_the_one_that_may_have_been_meant(tmp_path: Path):
    (tmp_path / "nano.yaml").write_text(NANO)
    assert message_of(tmp_path / "nono.yaml") == (
        f"{tmp_path}/nono.yaml: no such file: expected the YAML file of a job. Did you mean {tmp_path}/nano.yaml?"
    )


def test_missing_folder_is_named(tmp_path: Path):
    assert message_of(tmp_path / "jobs" / "nano.yaml") == (
        f"{tmp_path}/jobs/nano.yaml: no such file: expected the YAML file of a job. "
        f"There is no folder {tmp_path}/jobs either."
    )


def test_folder_is_refused(tmp_path: Path):
    assert message_of(tmp_path) == f"{tmp_path}: is a folder: expected the YAML file of a job. Name the file in it."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission_is_refused(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(NANO)
    path.chmod(0)
    assert message_of(path) == f"{path}: may not be read. Give yourself the right to read it (chmod u+r)."


def test_name_too_long_for_a_file_is_refused(tmp_path: Path):
    path = tmp_path / ("a" * 300)
    assert message_of(path) == (
        f"{path}: cannot be read: the name is too long: file systems take 255 bytes in most "
        "cases. Choose a shorter one."
    )


def test_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_bytes("# café\n".encode("latin-1"))
    assert message_of(path) == f"{path}: is not UTF-8: byte 5 is 0xe9. Save it as UTF-8, or check the path."


def test_file_too_large_to_be_a_job_is_not_read(tmp_path: Path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    assert message_of(path) == (
        f"{path}: has more than 1,048,576 bytes: expected the YAML file of a job. Check the path."
    )


def test_empty_text_is_refused():
    assert message_of_text("# nothing\n") == (
        "job.yaml: is empty: expected an LMTrainingJob with apiVersion, kind, metadata and spec."
    )


def test_text_that_is_no_mapping_is_refused():
    assert message_of_text("- 3") == (
        "job.yaml: [3] is not a job: expected a mapping with apiVersion, kind, metadata and spec."
    )


def test_config_without_apiversion_is_told_where_its_sections_belong():
    assert message_of_text("trainer: {seed: 3}") == (
        "apiVersion: missing in job.yaml: expected lateen.dev/v1alpha1. Add the line "
        "`apiVersion: lateen.dev/v1alpha1`, `metadata: {name: …}`, and put the sections below `spec:`."
    )


def test_missing_kind_is_named():
    assert message_of_text(NANO.replace("kind: LMTrainingJob\n", "")) == (
        "kind: missing in job.yaml: expected LMTrainingJob. Add the line `kind: LMTrainingJob`."
    )


def test_other_kind_is_refused():
    assert message_of_text(NANO.replace("LMTrainingJob", "JobSet")) == (
        "kind: 'JobSet' in job.yaml is not lateen's: expected LMTrainingJob."
    )


def test_other_version_is_refused():
    assert message_of_text(NANO.replace("v1alpha1", "v2")) == (
        "apiVersion: 'lateen.dev/v2' in job.yaml is not lateen's: expected lateen.dev/v1alpha1."
    )


def test_the_only_job_among_several_documents_is_taken():
    text = f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: research}}\n---\n{NANO}"
    assert parse_job(text, "job.yaml") == nano()


def test_two_jobs_in_one_file_are_refused():
    assert message_of_text(f"---{NANO}---{NANO}") == (
        "job.yaml: holds documents of the kinds 'LMTrainingJob' and 'LMTrainingJob': "
        "expected exactly one LMTrainingJob. Split the file."
    )


def test_missing_name_and_section_are_both_named():
    text = "{apiVersion: lateen.dev/v1alpha1, kind: LMTrainingJob, metadata: {}, spec: {}}"
    assert message_of_text(text).splitlines() == [
        "metadata.name: missing: expected at most 36 lower-case letters, digits and '-', a letter first and no '-' "
        "at the end. Add `name: my-job` below metadata.",
        "spec.data: missing: expected a section with fields such as id, name and trainUrls. "
        'Add `data: {trainUrls: ["corpus/*.jsonl"]}` below spec.',
    ]


def test_unknown_metadata_is_carried_along():
    job = parse_job(NANO.replace("{name: nano}", "{name: nano, uid: abc}"), "job.yaml")
    assert job.metadata.model_dump()["uid"] == "abc"


@pytest.mark.parametrize("text", ["6e-4", "6.0e-4", "6E-4", "0.0006", "+6e-04", ".6e-3"])
def test_all_spellings_of_a_learning_rate_mean_the_same(text: str):
    assert nano(f"optimizer.learningRate={text}").spec.optimizer.learning_rate == 6e-4


@pytest.mark.parametrize(
    ("override", "value"),
    [("trainer.seed=3", 3), ("spec.trainer.seed=4", 4), (" trainer.seed = 0x10", 16)],
)
def test_override_sets_a_field(override: str, value: int):
    assert nano(override).spec.trainer.seed == value


def test_override_sets_a_field_in_a_section_that_the_file_has_not():
    assert nano("tracking.wandb.project=lateen").spec.tracking.wandb == WandbSpec(project="lateen")


def test_override_sets_the_name():
    assert nano("metadata.name=other").metadata.name == "other"


def test_last_of_two_overrides_counts():
    assert nano("trainer.seed=3", "trainer.seed=4").spec.trainer.seed == 4


def test_override_without_value_is_null():
    assert nano("optimizer.maxGradNorm=").spec.optimizer.max_grad_norm is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "override 'seed': expected FIELD=VALUE. Write it like trainer.seed=3, without spaces."),
        ("a..b=1", "override 'a..b=1': expected FIELD=VALUE. Write it like trainer.seed=3, without spaces."),
        (
            "trainer.seed=[1",
            "override 'trainer.seed=[1': line 1, column 3: not valid YAML: expected ',' or ']', but got "
            "'<stream end>'. Check the indentation, colons, quotes and brackets there.",
        ),
        (
            "data.tokenizer.path=a",
            "spec.data.tokenizer.path: spec.data.tokenizer is 'bytes', which has no fields: set it as a whole.",
        ),
    ],
)
def test_wrong_override_is_named(override: str, message: str):
    with pytest.raises(JobError) as caught:
        nano(override)
    assert str(caught.value) == message
