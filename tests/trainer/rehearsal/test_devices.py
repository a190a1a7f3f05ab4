"""Devices that are described, and what is said where they cannot be."""

import importlib.util

import pytest
from crds.jobs import small
from lateen_api.accelerators import ACCELERATORS
from lateen_api.plan import Plan, make_plan
from lateen_trainer.errors import UserError
from lateen_trainer.rehearsal.devices import described_devices

V5E = "compute={accelerator: tpu-v5e, topology: 4x4, slices: 2}"


def planned(*overrides: str) -> Plan:
    return make_plan(small(*overrides, "trainer.trainBatchSize=512", "trainer.reproducibility=fast"))


@pytest.mark.parametrize(
    ("compute", "module", "extra"),
    [
        (V5E, "libtpu", "tpu"),
        ("compute={accelerator: nvidia-h100-80gb}", "jax_cuda13_plugin", "cuda"),
    ],
)
def test_a_missing_compiler_is_named_with_what_installs_it(compute, module, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=rf"spec.compute.accelerator: .*{module}.*pip install 'lateen\[trainer,{extra}\]'"
    ):
        described_devices(planned(compute), "4x4")


def test_what_the_compiler_does_not_know_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    plan = planned("compute={accelerator: nvidia-gb200}")
    with pytest.raises(UserError, match=r"spec.compute: .* does not know 1 × 4 nvidia-gb200: there are nvidia-l4"):
        described_devices(plan, None)


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs lateen's extra tpu")
@pytest.mark.parametrize(
    "accelerator", [accelerator for accelerator in ACCELERATORS if accelerator.kind == "tpu"], ids=lambda a: a.name
)
def test_every_tpu_has_the_devices_of_its_plan(accelerator, monkeypatch):
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    for topology in list(accelerator.slices)[:3]:
        for per_host in accelerator.slices[topology]:
            for slices in (1, 2):
                name = f"accelerator: {accelerator.name}, topology: {topology}"
                plan = planned(f"compute={{{name}, chipsPerHost: {per_host}, slices: {slices}}}")
                devices = described_devices(plan, topology)
                assert len(devices) == plan.devices
                assert {device.process_index for device in devices} == set(range(plan.processes))


@pytest.mark.skipif(not importlib.util.find_spec("jax_cuda13_plugin"), reason="needs lateen's extra cuda")
@pytest.mark.parametrize(
    "accelerator",
    [a for a in ACCELERATORS if a.kind == "gpu" and a.name != "nvidia-gb200"],
    ids=lambda a: a.name,
)
def test_every_gpu_has_the_devices_of_its_plan(accelerator, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    plan = planned(f"compute={{accelerator: {accelerator.name}, hosts: 2}}")
    assert len(described_devices(plan, None)) == plan.devices
