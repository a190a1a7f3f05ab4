"""The devices of a plan, as descriptions that a compiler takes.

TPUs are described by libtpu, GPUs by XLA's `GpuTargetConfig`. CPU devices are this process's own.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies
from lateen_api.plan import Plan
from lateen_api.wording import listing

from lateen_trainer.errors import UserError

_PLUGINS = {"tpu": ("libtpu", "tpu"), "gpu": ("jax_cuda13_plugin", "cuda")}
"""Module of the compiler, and the extra of lateen that installs it, by kind of accelerator."""

_TPU_NAMES = {"tpu-v4": "v4", "tpu-v5e": "v5e", "tpu-v5p": "v5p", "tpu-v6e": "v6e", "tpu7x": "tpu7x"}
"""libtpu's names."""

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class _Gpu:
    """What XLA asks about a GPU, from NVIDIA's data sheets and the CUDA programming guide's table of capabilities."""

    capability: tuple[int, int]
    cores: int
    """Streaming multiprocessors."""

    shared_kib: int
    """Shared memory of a multiprocessor; a block can have 1 KiB less."""

    threads_per_core: int
    fpus_per_core: int
    l2_mib: int
    gigabytes_per_second: int
    clock_ghz: float
    description: str


_H100 = _Gpu((9, 0), 132, 228, 2048, 128, 50, 3352, 1.98, "NVIDIA H100 80GB HBM3")
_GPUS: Mapping[str, _Gpu] = {
    "nvidia-l4": _Gpu((8, 9), 58, 100, 1536, 128, 48, 300, 2.04, "NVIDIA L4"),
    "nvidia-tesla-a100": _Gpu((8, 0), 108, 164, 2048, 64, 40, 1555, 1.41, "NVIDIA A100-SXM4-40GB"),
    "nvidia-a100-80gb": _Gpu((8, 0), 108, 164, 2048, 64, 40, 2039, 1.41, "NVIDIA A100-SXM4-80GB"),
    "nvidia-h100-80gb": _H100,
    "nvidia-h100-mega-80gb": _H100,
    "nvidia-h200-141gb": _Gpu((9, 0), 132, 228, 2048, 128, 50, 4800, 1.98, "NVIDIA H200"),
    "nvidia-b200": _Gpu((10, 0), 148, 228, 2048, 128, 126, 8000, 1.965, "NVIDIA B200"),
}


def described_devices(plan: Plan, topology: str | None) -> list[Any]:
    """The devices of all processes of a plan, in the order in which the trainer gets them.

    Args:
        topology: of a TPU slice, as in `spec.compute.topology`.

    Raises:
        UserError: the compiler is not installed, or it does not know such devices.
    """
    if plan.accelerator_kind == "cpu":
        jax.config.update("jax_num_cpu_devices", plan.devices)
        return jax.devices("cpu")
    module, extra = _PLUGINS[plan.accelerator_kind]
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"spec.compute.accelerator: compiling for {plan.accelerator} needs its compiler (the module {module}), "
            f"which is not installed. Install it: pip install 'lateen[trainer,{extra}]'. It needs no {extra} device."
        )
    description = _describe_tpus if plan.accelerator_kind == "tpu" else _describe_gpus
    try:
        return list(description(plan, topology).devices)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"spec.compute: the installed compiler (jax {jax.__version__}) does not know {_name(plan, topology)}: "
            f"{reason[0]}. Use an accelerator and a topology that it knows, or plan without --compile."
        ) from error


def _name(plan: Plan, topology: str | None) -> str:
    if plan.accelerator_kind == "gpu":
        return f"{plan.hosts} × {plan.devices_per_host} {plan.accelerator}"
    return f"{plan.slices} × {plan.accelerator} {topology}"


def _describe_tpus(plan: Plan, topology: str | None):
    if plan.accelerator not in _TPU_NAMES or topology is None:
        raise ValueError(f"there are {listing(list(_TPU_NAMES), 'and')}")
    options: dict[str, Any] = {} if plan.slices == 1 else {"num_slices": plan.slices}
    if plan.hosts_per_slice == 1:  # all chips belong to one host, however many they are
        sides = [int(side) for side in topology.split("x")]
        options["chips_per_host_bounds"] = (*sides, 1, 1)[:3]
    if plan.accelerator == "tpu-v4":  # one device per chip, as the TPU's own runtime has it
        options["chip_config_name"] = "megacore"
    return topologies.get_topology_desc(f"{_TPU_NAMES[plan.accelerator]}:{topology}", "tpu", **options)


def _describe_gpus(plan: Plan, topology: str | None):
    del topology
    gpu = _GPUS.get(plan.accelerator)
    if gpu is None:
        raise ValueError(f"there are {listing(list(_GPUS), 'and')}")
    return topologies.get_topology_desc(
        plan.accelerator,
        "cuda",
        topology=f"1x{plan.hosts}x{plan.devices_per_host}",
        target_config=gpu_target(plan.accelerator, plan.memory.available or 0),
    )


def gpu_target(accelerator: str, device_memory: int) -> str:
    """XLA's description of a GPU (a `GpuTargetConfigProto` as text), with so many bytes of memory."""
    gpu = _GPUS[accelerator]
    figures = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 48 * _KIB,
        "shared_memory_per_block_optin": (gpu.shared_kib - 1) * _KIB,
        "shared_memory_per_core": gpu.shared_kib * _KIB,
        "threads_per_core_limit": gpu.threads_per_core,
        "core_count": gpu.cores,
        "fpus_per_core": gpu.fpus_per_core,
        "block_dim_limit_x": (1 << 31) - 1,
        "block_dim_limit_y": (1 << 16) - 1,
        "block_dim_limit_z": (1 << 16) - 1,
        "memory_bandwidth": gpu.gigabytes_per_second * 10**9,
        "l2_cache_size": gpu.l2_mib * _MIB,
        "clock_rate_ghz": gpu.clock_ghz,
        "device_memory_size": device_memory,
        "registers_per_core_limit": 1 << 16,
        "registers_per_block_limit": 1 << 16,
    }
    major, minor = gpu.capability
    pairs = " ".join(f"{name}: {value}" for name, value in figures.items())
    return (
        f"gpu_device_info {{ {pairs} cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 26 } '
        f'device_description_str: "{gpu.description}"'
    )
