"""The machine on which a benchmark runs, in one line: figures mean little without the kind of CPU."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

VECTOR_UNITS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON"))
"""Flags of the kernel, widest first, and what the unit is called."""


def machine(cpuinfo: str | None = None) -> str:
    """Model, family, widest vector unit, cores and load average.

    Args:
        cpuinfo: text of /proc/cpuinfo; that of this machine if None.
    """
    if cpuinfo is None:
        cpuinfo = CPUINFO.read_text() if CPUINFO.exists() else ""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name") or platform.processor() or platform.machine()
    # Virtual machines hide the name of the model: "AMD EPYC" alone may be any generation.
    if "cpu family" in facts:
        model += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    unit = next((name for flag, name in VECTOR_UNITS if flag in flags), "no wide vector unit")
    return f"{model}, {unit}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
