"""What a process is told, and reads back."""

import pytest
from lateen_api.environment import ProcessEnvironment, ProcessEnvironmentError


def test_environment_survives_the_round_trip():
    environment = ProcessEnvironment(
        job_file="/job/job.json",
        attempt=3,
        slices=2,
        hosts_per_slice=4,
        slice_index=1,
        host_index=2,
        coordinator="nano-a3-workers-0-0.nano-a3:8476",
        metrics_port=9100,
        run_dir="/run/nano",
        termination_log="/dev/termination-log",
        checkpoint_step=40,
    )
    assert ProcessEnvironment.from_environ(environment.to_environ()) == environment


def test_what_is_not_known_is_not_written():
    assert ProcessEnvironment(job_file="job.json").to_environ() == {
        "LATEEN_JOB_FILE": "job.json",
        "LATEEN_ATTEMPT": "1",
        "LATEEN_SLICES": "1",
        "LATEEN_HOSTS_PER_SLICE": "1",
        "LATEEN_SLICE_INDEX": "0",
        "LATEEN_HOST_INDEX": "0",
        "LATEEN_METRICS_PORT": "0",
        "LATEEN_METRICS_HOST": "0.0.0.0",
        "LATEEN_RUN_DIR": ".",
    }


def test_processes_are_numbered_slice_by_slice():
    numbers = [
        ProcessEnvironment("job.json", slices=3, hosts_per_slice=2, slice_index=s, host_index=h).process_id
        for s in range(3)
        for h in range(2)
    ]
    assert numbers == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {},
            "LATEEN_JOB_FILE is not set: expected the path of the job's JSON. A trainer is started by `lateen run`, "
            "by the operator, or as `lateen train job.yaml`.",
        ),
        ({"LATEEN_ATTEMPT": "0"}, "LATEEN_ATTEMPT is '0': expected a whole number from 1."),
        ({"LATEEN_METRICS_PORT": "x"}, "LATEEN_METRICS_PORT is 'x': expected a whole number from 0 to 65535."),
        (
            {"LATEEN_SLICES": "2", "LATEEN_SLICE_INDEX": "2", "LATEEN_COORDINATOR": "a:1"},
            "LATEEN_SLICE_INDEX is '2': expected a whole number from 0 to 1.",
        ),
        (
            {"LATEEN_HOSTS_PER_SLICE": "2"},
            "LATEEN_COORDINATOR is not set, but the attempt has 2 processes: expected host:port of process 0.",
        ),
    ],
)
def test_wrong_variable_is_named(environ: dict[str, str], message: str):
    given = {"LATEEN_JOB_FILE": "job.json", **environ} if environ else {}
    with pytest.raises(ProcessEnvironmentError) as caught:
        ProcessEnvironment.from_environ(given)
    assert str(caught.value) == message
