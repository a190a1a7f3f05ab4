"""The estimate of memory. How near it comes to what XLA allots is measured in tests/trainer (memory of a step)."""

from crds.jobs import small
from lateen_api.plan import make_plan
from lateen_api.plan.result import Memory


def memory_of(*overrides: str, gpus: int = 1) -> Memory:
    accelerator = f"compute={{accelerator: nvidia-a100-80gb, gpusPerHost: {gpus}}}"
    return make_plan(small(accelerator, "trainer.perDeviceParallelism=8", *overrides)).memory


def test_state_is_four_bytes_a_parameter_and_two_moments():
    memory = memory_of()
    assert memory.parameters == 4 * 124_439_808
    assert memory.optimizer == 8 * 124_439_808


def test_state_is_divided_over_the_devices():
    assert memory_of(gpus=8).parameters == 4 * 124_439_808 // 8


def test_activations_are_not():
    assert memory_of(gpus=8).activations == memory_of().activations


def test_total_is_the_sum():
    memory = memory_of()
    assert memory.total == memory.parameters + memory.optimizer + memory.gradients + memory.activations


def test_keeping_all_activations_takes_more():
    assert memory_of("model.gradientCheckpointing=false").activations > 2 * memory_of().activations


def test_attention_in_float32_keeps_its_scores():
    assert memory_of("model.upcastAttn=true").activations > memory_of().activations + 2**30


def test_memory_of_a_cpu_host_is_shared_by_its_devices():
    memory = make_plan(small("compute={cpu: 4, memory: 64Gi}")).memory
    assert memory.available == 16 * 2**30


def test_memory_of_a_cpu_host_is_not_known_unless_the_pod_asks_for_some():
    assert make_plan(small()).memory.available is None
