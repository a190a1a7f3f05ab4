"""By what a checkpoint was made: where this is another, the same job has other bits from there on."""

import platform
from collections.abc import Mapping
from pathlib import Path

import jax
import jaxlib.version
from lateen_api.plan import Plan

from lateen_trainer.processes.numerics import recorded_variables

_WIDEST_FIRST = ("amx_tile", "avx512f", "avx2", "avx", "sve", "asimd")
"""Flags of CPUs, as Linux names them, for which XLA generates different code."""


def made_by(plan: Plan) -> dict[str, str]:
    """What the bits of a step depend on besides model and data."""
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else _cpu()
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "device": kind,
        "computeType": plan.compute_dtype,
        "modelAxisSize": str(plan.mesh.model),
        **recorded_variables(),
        **({} if plan.cpu_threads is None else {"cpuThreads": str(plan.cpu_threads)}),
    }


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is another now, in words: "jaxlib 0.10.2 then, 0.11.0 now"."""
    return [
        f"{name} {before[name]} then, {value} now" for name, value in now.items() if before.get(name, value) != value
    ]


def _cpu() -> str:
    """The architecture and its widest vector instructions, as "x86_64 avx2"."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    flags = next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
    widest = next((flag for flag in _WIDEST_FIRST if flag in flags), "")
    return f"{platform.machine()} {widest}".strip()
