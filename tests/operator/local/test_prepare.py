"""A job as it was written → as it runs on this machine."""

import pytest
from lateen_api.errors import JobError
from lateen_api.spec import LMTrainingJob
from lateen_operator.local.devices import host_environ, visible_gpus, with_local_gpus
from lateen_operator.local.folder import RunFolder
from lateen_operator.local.prepare import check_disk, check_fresh, check_same_run, prepare
from lateen_operator.local.same_run import differences

EIGHT_GPUS = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}


def make_job(**spec) -> LMTrainingJob:
    base = {
        "model": {"hiddenDim": 32, "numHeads": 2, "numLayers": 2, "seqLen": 128},
        "data": {"tokenizer": "bytes", "trainUrls": ["corpus.txt"]},
        "trainer": {"numTrainSteps": 10, "trainBatchSize": 16},
    }
    return LMTrainingJob.model_validate({"metadata": {"name": "tiny"}, "spec": {**base, **spec}})


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def prepared(job: LMTrainingJob, folder: RunFolder, *, hosts: int | None = None, cores: int = 4, **more):
    return prepare(job, folder, hosts=hosts, cores=cores, environ={}, **more)


class TestResolved:
    def test_paths_default_to_the_runs_folder(self, folder):
        spec = prepared(make_job(), folder).job.spec
        assert (spec.data.cache_dir, spec.checkpoint.path) == (
            str(folder.path / "cache"),
            str(folder.path / "checkpoints"),
        )

    def test_paths_of_the_job_stay(self, folder):
        data = {"tokenizer": "bytes", "trainUrls": ["corpus.txt"], "cacheDir": "gs://c/cache"}
        spec = prepared(make_job(data=data, checkpoint={"path": "gs://c/run"}), folder).job.spec
        assert (spec.data.cache_dir, spec.checkpoint.path) == ("gs://c/cache", "gs://c/run")

    def test_relative_paths_are_below_the_runs_folder_wherever_the_command_is_called(
        self, folder, tmp_path, monkeypatch
    ):
        data = {"tokenizer": "bytes", "trainUrls": ["corpus.txt"], "cacheDir": "../tokens"}
        job = make_job(data=data, checkpoint={"path": "./mine"})
        for place in ("/", tmp_path):
            monkeypatch.chdir(place)
            spec = prepared(job, folder).job.spec
            assert (spec.data.cache_dir, spec.checkpoint.path) == (
                str(tmp_path / "tokens"),
                str(folder.path / "mine"),
            )

    def test_trainers_tokenize_also_where_pods_would_in_a_cluster(self, folder):
        data = {"tokenizer": "bytes", "trainUrls": ["corpus.txt"], "prepare": {"hosts": 2}}
        here = prepared(make_job(data=data), folder)
        assert here.job.spec.data.prepare is None
        assert here.warnings == ["spec.data.prepare is not used on this machine: the trainers tokenize."]

    def test_cores_are_shared_by_the_hosts(self, folder):
        for hosts, devices in ((1, 4), (2, 2), (4, 1), (8, 1)):
            compute = prepared(make_job(trainer={"reproducibility": "fast"}), folder, hosts=hosts).job.spec.compute
            assert (compute.hosts, compute.devices_per_host) == (hosts, devices)

    def test_devices_of_the_job_stay(self, folder):
        compute = prepared(make_job(compute={"hosts": 2, "devicesPerHost": 4}), folder).job.spec.compute
        assert (compute.hosts, compute.devices_per_host) == (2, 4)

    def test_the_range_of_hosts_holds_those_that_were_asked_for(self, folder):
        job = make_job(compute={"hosts": 2, "minHosts": 2, "maxHosts": 2})
        compute = prepared(job, folder, hosts=1).job.spec.compute
        assert (compute.min_hosts, compute.hosts, compute.max_hosts) == (1, 1, 2)

    def test_nothing_is_created(self, folder):
        prepared(make_job(), folder)
        assert not folder.path.exists()

    def test_the_devices_in_words(self, folder):
        assert prepared(make_job(), folder, hosts=2).where == "2 processes × 2 CPU devices"
        assert prepared(make_job(), folder, hosts=1, cores=1).where == "1 process × 1 CPU device"

    def test_more_processes_than_cores_are_warned_of(self, folder):
        assert prepared(make_job(), folder, hosts=2, cores=1).warnings == [
            "2 processes share 1 core: fewer --hosts train faster. The losses are right all the same."
        ]


class TestGpus:
    def environ_by_host(self, folder, environ, **compute):
        compute = {"accelerator": "nvidia-h100-80gb", "hosts": 2, **compute}
        job = make_job(compute=compute, trainer={"numTrainSteps": 10, "trainBatchSize": 64})
        return prepare(job, folder, hosts=None, cores=4, environ=environ).host_environ

    def test_are_shared_out_evenly(self, folder):
        assert self.environ_by_host(folder, EIGHT_GPUS) == [
            {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "JAX_PLATFORMS": "cuda"},
            {"CUDA_VISIBLE_DEVICES": "4,5,6,7", "JAX_PLATFORMS": "cuda"},
        ]

    def test_are_shared_out_as_the_job_says(self, folder):
        shares = self.environ_by_host(folder, EIGHT_GPUS, gpusPerHost=1)
        assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0", "1"]

    def test_keep_the_names_that_the_user_gave(self, folder):
        shares = self.environ_by_host(folder, {"CUDA_VISIBLE_DEVICES": "GPU-8f, 3"})
        assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["GPU-8f", "3"]

    def test_too_few_are_refused(self, folder):
        with pytest.raises(JobError, match="2 hosts of 4 GPUs need 8, and this machine has 4"):
            self.environ_by_host(folder, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, gpusPerHost=4)

    @pytest.mark.parametrize("accelerator", ["tpu-v5e", "nvidia-l4"])
    def test_a_job_for_machines_that_are_not_here_is_refused_with_the_remedy(self, accelerator):
        job = make_job(compute={"accelerator": accelerator})
        with pytest.raises(JobError, match=r"--set spec\.compute\.accelerator=cpu --hosts 1"):
            with_local_gpus(job, None, {"CUDA_VISIBLE_DEVICES": ""})

    def test_a_cpu_job_hides_them_from_jax(self):
        compute = make_job(compute={"hosts": 2}).spec.compute
        assert host_environ(compute, EIGHT_GPUS) == [{"JAX_PLATFORMS": "cpu"}] * 2

    @pytest.mark.parametrize(("value", "names"), [("", []), ("-1", []), ("2", ["2"]), ("0, 1", ["0", "1"])])
    def test_visible_ones_are_those_of_the_environment(self, value, names):
        assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == names


class TestSameRun:
    def changed(self, **spec):
        before = make_job().model_dump(mode="json", by_alias=True)
        after = make_job(**spec).model_dump(mode="json", by_alias=True)
        return differences(before, after)

    def test_a_job_of_a_version_without_some_field_has_its_default(self):
        after = make_job().model_dump(mode="json", by_alias=True)
        before = make_job().model_dump(mode="json", by_alias=True)
        del before["spec"]["optimizer"]["groups"]
        assert differences(before, after) == []

    def test_another_model_seed_or_learning_rate_is_another_job(self):
        model = {"hiddenDim": 64, "numHeads": 2, "numLayers": 2, "seqLen": 128}
        assert self.changed(model=model) == [("spec.model.hiddenDim", 32, 64)]
        assert self.changed(optimizer={"learningRate": 1e-3}) == [("spec.optimizer.learningRate", 6e-4, 1e-3)]

    @pytest.mark.parametrize(
        "spec",
        [
            {"trainer": {"numTrainSteps": 20, "trainBatchSize": 16, "stepsPerEval": 5}},
            {"compute": {"hosts": 4, "env": {"A": "b"}}},
            {"recovery": {"maxFailures": 9}},
            {"checkpoint": {"saveInterval": "1m"}},
            {"suspend": True},
        ],
    )
    def test_more_steps_other_hosts_and_other_budgets_are_the_same_job(self, spec):
        assert self.changed(**spec) == []

    def test_the_refusal_lists_what_differs(self, folder):
        stored = prepared(make_job(), folder).resolved()
        other = prepared(make_job(data={"tokenizer": "gpt2", "trainUrls": ["other.txt"]}), folder)
        with pytest.raises(JobError) as refused:
            check_same_run(stored, other, folder)
        assert "\n  spec.data.tokenizer: 'bytes' → 'gpt2'\n" in str(refused.value)
        assert "\n  spec.data.trainUrls: ['corpus.txt'] → ['other.txt']\n" in str(refused.value)

    def test_a_new_folder_takes_any_job(self, folder):
        check_same_run(None, prepared(make_job(), folder), folder)


def test_starting_over_with_checkpoints_elsewhere_is_refused(folder):
    def fresh(path: str | None, earlier: str | None = None) -> None:
        before = None if earlier is None else {"spec": {"checkpoint": {"path": earlier}}}
        check_fresh(prepared(make_job(checkpoint={"path": path}), folder), before, folder)

    fresh(None)
    fresh("mine")
    fresh("gs://c/new", "gs://c/run")
    with pytest.raises(JobError, match=r"gs://c/run lies outside the run's folder"):
        fresh("gs://c/run", "gs://c/run")
    elsewhere = folder.path.parent / "elsewhere"
    fresh("../elsewhere")
    (elsewhere / "step-00000010").mkdir(parents=True)
    for path in ("../elsewhere", str(elsewhere), f"file://{elsewhere}"):
        with pytest.raises(JobError, match=r"elsewhere lies outside the run's folder"):
            fresh(path)


def test_a_disk_without_room_for_two_checkpoints_is_refused(folder):
    model = {"hiddenDim": 2**16, "numHeads": 2, "numLayers": 500, "seqLen": 128}
    huge = prepared(make_job(model=model), folder)
    with pytest.raises(
        JobError, match=r"spec.checkpoint.path: .* free, and two checkpoints of .* need .* TiB; make room"
    ):
        check_disk(huge, folder)
    check_disk(prepared(make_job(), folder), folder)
