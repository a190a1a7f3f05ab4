"""A trainer reads back from its manifest who it is."""

from dataclasses import replace
from typing import Any

import pytest
from lateen_api.environment import ProcessEnvironment
from lateen_operator.manifests.pod import pod_template
from stored_jobs import GPU, NANO, SMALL, TPU, attempt


def environment(job: dict[str, Any], *overrides: str, labels: dict[str, str] | None = None) -> dict[str, str]:
    """The environment that kubelet makes of the manifest for a pod with these labels."""
    labels = labels or {"jobset.sigs.k8s.io/job-index": "0", "batch.kubernetes.io/job-completion-index": "0"}
    trainer = pod_template(attempt(job, *overrides, number=3))["spec"]["containers"][0]
    return {
        variable["name"]: variable["value"]
        if "value" in variable
        else labels[variable["valueFrom"]["fieldRef"]["fieldPath"].removeprefix("metadata.labels['").removesuffix("']")]
        for variable in trainer["env"]
    }


def test_cpu_host_knows_who_it_is():
    labels = {"jobset.sigs.k8s.io/job-index": "0", "batch.kubernetes.io/job-completion-index": "1"}
    assert ProcessEnvironment.from_environ(environment(NANO, labels=labels)) == ProcessEnvironment(
        job_file="/etc/lateen/job.json",
        attempt=3,
        slices=1,
        hosts_per_slice=2,
        slice_index=0,
        host_index=1,
        coordinator="nano-a3-workers-0-0.nano-a3:8476",
        metrics_port=8080,
        run_dir="/shared/nano",
        termination_log="/dev/termination-log",
    )


def test_the_step_of_the_last_known_checkpoint_is_told():
    first, later = attempt(NANO), replace(attempt(NANO, number=2), checkpoint_step=40)
    told = [
        {variable["name"]: variable.get("value") for variable in pod_template(one)["spec"]["containers"][0]["env"]}
        for one in (first, later)
    ]
    assert [one.get("LATEEN_CHECKPOINT_STEP") for one in told] == [None, "40"]


def test_host_of_the_second_slice_is_numbered_behind_the_first():
    labels = {"jobset.sigs.k8s.io/job-index": "1", "batch.kubernetes.io/job-completion-index": "2"}
    environ = environment(SMALL, TPU, labels=labels)
    process = ProcessEnvironment.from_environ(environ)
    assert (process.process_id, process.process_count) == (6, 8)
    assert (environ["MEGASCALE_SLICE_ID"], environ["MEGASCALE_NUM_SLICES"]) == ("1", "2")


@pytest.mark.parametrize("overrides", [(TPU, "compute.slices=1"), (GPU,)])
def test_megascale_is_for_several_slices_only(overrides: tuple[str, ...]):
    assert [name for name in environment(SMALL, *overrides) if name.startswith("MEGASCALE")] == []


@pytest.mark.parametrize(
    ("job", "overrides", "platforms"), [(NANO, (), "cpu"), (SMALL, (TPU,), "tpu,cpu"), (SMALL, (GPU,), "cuda")]
)
def test_jax_takes_no_other_platform(job: dict[str, Any], overrides: tuple[str, ...], platforms: str):
    assert environment(job, *overrides)["JAX_PLATFORMS"] == platforms


def test_memory_comes_in_huge_pages_where_cores_compute():
    assert environment(NANO)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert (
        environment(NANO, "compute.env.GLIBC_TUNABLES=glibc.malloc.check=3")["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
    )
    assert "GLIBC_TUNABLES" not in environment(SMALL, GPU)


def test_compiled_programs_outlive_pods_where_checkpoints_lie_on_a_volume():
    assert environment(NANO)["LATEEN_COMPILATION_CACHE"] == "/shared/nano/xla"
    assert environment(NANO, "checkpoint.path=file:///shared/nano")["LATEEN_COMPILATION_CACHE"] == "/shared/nano/xla"
    assert environment(SMALL, GPU)["LATEEN_COMPILATION_CACHE"] == ""


@pytest.mark.parametrize(
    ("job", "overrides", "folder"),
    [
        (NANO, (), "/shared/nano"),
        (NANO, ("checkpoint.path=file:///shared/nano",), "/shared/nano"),
        (SMALL, (GPU,), "/run/lateen"),
    ],
)
def test_metrics_outlive_pods_where_checkpoints_lie_on_a_volume(
    job: dict[str, Any], overrides: tuple[str, ...], folder: str
):
    assert environment(job, *overrides)["LATEEN_RUN_DIR"] == folder


def test_the_job_adds_variables_and_sets_some_otherwise():
    environ = environment(NANO, "compute.env={A: b, HOME: /shared/home, LATEEN_COMPILATION_CACHE: ''}")
    assert (environ["A"], environ["HOME"], environ["LATEEN_COMPILATION_CACHE"]) == ("b", "/shared/home", "")
