"""Whole plans."""

import pytest
from crds.jobs import nano, small
from lateen_api.errors import JobError
from lateen_api.plan import MeshShape, make_plan


def test_plan_of_gpt2_small_on_two_tpu_slices():
    plan = make_plan(
        small(
            "data.validationUrls=[val.txt]",
            "compute={accelerator: tpu-v5p, topology: 2x2x4, slices: 2, minSlices: 1, maxSlices: 4}",
        )
    )
    assert plan.model_dump(by_alias=True, exclude={"memory", "optimizer"}) == {
        "accelerator": "tpu-v5p",
        "acceleratorKind": "tpu",
        "hosts": 8,
        "network": "none",
        "slices": 2,
        "hostsPerSlice": 4,
        "processes": 8,
        "devicesPerHost": 4,
        "devices": 32,
        "hostCounts": [4, 8, 16],
        "mesh": {"data": 32, "model": 1},
        "microbatch": 4,
        "evalMicrobatch": 4,
        "accumulationSteps": 4,
        "lanes": 128,
        "cpuThreads": None,
        "gatherOnce": True,
        "paramDtype": "float32",
        "computeDtype": "bfloat16",
        "tokensPerStep": 524_288,
        "totalTokens": 52_428_800_000,
        "vocabSize": 50_257,
        "paddedVocabSize": 50_257,
        "parameters": 124_439_808,
        "trainableParameters": 124_439_808,
        "flopsPerToken": 855_765_504,
        "peakFlopsPerDevice": 459e12,
        "warmupSteps": 1000,
        "decaySteps": 99_000,
        "evaluations": 100,
        "sources": [
            {
                "name": "",
                "share": 1.0,
                "sequences": 51_200_000,
                "files": None,
                "bytes": None,
                "available": None,
                "epochs": None,
                "unknown": None,
            }
        ],
        "warnings": [],
    }


def test_plan_says_how_each_parameter_is_trained():
    plan = make_plan(nano("optimizer={type: muon, learningRate: 0.5, groups: [{match: '*.wte', weightDecay: 0.25}]}"))
    by_name = {parameter.name: parameter.model_dump(by_alias=True) for parameter in plan.optimizer}
    assert len(by_name) == 16
    assert by_name["model.wte"] == {
        "name": "model.wte",
        "axes": {"vocab": 257, "embed": 128},
        "rule": "adamw",
        "learningRate": 0.5,
        "weightDecay": 0.25,
    }
    assert by_name["model.blocks.blocks.mlp.c_fc.weight"]["rule"] == "muon"


def test_cpu_host_of_two_cores_gets_two_devices_and_small_microbatches():
    plan = make_plan(nano())
    assert (plan.devices_per_host, plan.mesh, plan.microbatch, plan.accumulation_steps) == (
        2,
        MeshShape(data=2, model=1),
        2,
        8,
    )


@pytest.mark.parametrize(("cores", "devices"), [(1, 1), (3, 2), (6, 4), (8, 8), (64, 32)])
def test_cpu_host_gets_the_most_devices_that_divide_the_batch(cores: int, devices: int):
    assert make_plan(nano("trainer.reproducibility=fast"), cores=cores).devices_per_host == devices


def test_cores_are_those_that_the_pod_asks_for():
    assert make_plan(nano("compute.cpu=8")).devices_per_host == 8
    assert make_plan(nano("compute.cpu=500m")).devices_per_host == 1


def test_devices_of_a_cpu_host_can_be_set():
    assert make_plan(nano("compute.devicesPerHost=16")).devices == 16


def test_devices_of_a_cpu_host_suit_the_model_axis():
    plan = make_plan(nano("trainer.modelAxisSize=4", "compute.cpu=6"))
    assert (plan.devices_per_host, plan.mesh) == (4, MeshShape(data=1, model=4))


def test_other_number_of_hosts_is_planned_when_asked_for():
    plan = make_plan(nano(), hosts=4)
    assert (plan.hosts, plan.hosts_per_slice, plan.processes, plan.devices) == (4, 4, 4, 8)


def test_tokens_of_a_step_do_not_depend_on_the_hosts():
    plans = [make_plan(nano(), hosts=hosts) for hosts in (1, 2, 4, 8)]
    assert {plan.tokens_per_step for plan in plans} == {8192}
    assert all(plan.mesh.data * plan.microbatch * plan.accumulation_steps == 32 for plan in plans)


def test_hosts_are_those_within_the_range_that_divide_the_batch():
    plan = make_plan(nano("compute={hosts: 4, minHosts: 1, maxHosts: 10}"))
    assert plan.host_counts == [1, 2, 4, 8]


def test_hosts_on_which_the_model_does_not_fit_are_left_out():
    plan = make_plan(
        small(
            "model={hiddenDim: 2048, numHeads: 16, numLayers: 32}",
            "compute={accelerator: nvidia-l4, gpusPerHost: 1, hosts: 4, minHosts: 1}",
            "trainer.reproducibility=fast",
        )
    )
    assert plan.host_counts == [2, 4]


def test_hosts_outside_the_range_of_the_job_are_planned_with_a_warning():
    plan = make_plan(nano("compute={hosts: 2, maxHosts: 4}"), hosts=8)
    assert plan.warnings == ["8 hosts are outside what the job allows, 2 to 4."]


def test_hosts_must_be_whole_slices():
    with pytest.raises(JobError) as caught:
        make_plan(small("compute={accelerator: tpu-v5p, topology: 2x2x4}"), hosts=6)
    assert str(caught.value) == "hosts: 6 is not possible: expected whole slices of 4 hosts. Use 4."


def test_topology_of_hosts_of_eight_chips():
    plan = make_plan(small("compute={accelerator: tpu-v6e, topology: 2x4, chipsPerHost: 8}"))
    assert (plan.hosts, plan.devices_per_host) == (1, 8)


def test_chip_of_two_devices():
    plan = make_plan(small("compute={accelerator: tpu7x, topology: 2x2x2}"))
    assert (plan.hosts, plan.devices_per_host, plan.devices) == (2, 8, 16)


def test_gpu_host_has_all_its_gpus_unless_told_otherwise():
    assert make_plan(small("compute={accelerator: nvidia-h100-80gb, hosts: 2}")).devices == 16
    assert make_plan(small("compute={accelerator: nvidia-h100-80gb, hosts: 2, gpusPerHost: 4}")).devices == 8


def test_evaluation_may_have_a_microbatch_of_its_own():
    plan = make_plan(nano("trainer.perDeviceEvalParallelism=16"))
    assert (plan.microbatch, plan.eval_microbatch) == (2, 16)


def test_given_vocabulary_counts_whatever_the_tokenizer_is_called():
    plan = make_plan(nano("data.tokenizer=team/tokenizer"), vocab_size=1000)
    assert (plan.vocab_size, plan.warnings) == (1000, [])


def test_unknown_vocabulary_is_assumed_and_said():
    plan = make_plan(nano("data.tokenizer=team/tokenizer"))
    assert plan.vocab_size == 50_257
    assert plan.warnings == [
        "The vocabulary of spec.data.tokenizer team/tokenizer is not known here: parameters, FLOPs and memory are "
        "those of 50,257 entries."
    ]


def test_lanes_in_fast_mode_get_a_warning():
    assert make_plan(nano("trainer={lanes: 16, reproducibility: fast}")).warnings == [
        "spec.trainer.lanes is not used: spec.trainer.reproducibility is fast."
    ]


def test_float16_gets_a_warning():
    assert make_plan(nano("trainer.mp=p=f32,c=f16")).warnings[1:] == [
        "spec.trainer.mp computes in float16 without scaling the loss: bfloat16 is safer."
    ]


def test_parameters_of_fewer_bits_get_a_warning_and_leave_the_optimizer_state_in_float32():
    full, narrow = (make_plan(nano(f"trainer.mp=p={kind},c=bfloat16")) for kind in ("f32", "bfloat16"))

    assert narrow.warnings == [
        *full.warnings,
        "spec.trainer.mp keeps parameters in bfloat16: changes below about 1/256 of a weight are rounded away. "
        "p=f32,c=bfloat16 keeps them in float32.",
    ]
    assert (narrow.memory.parameters, narrow.memory.optimizer) == (full.memory.parameters // 2, full.memory.optimizer)


def test_job_with_defaults_of_two_hosts_more_than_the_spec_has_no_warning():
    assert make_plan(nano(), hosts=2).warnings == []
