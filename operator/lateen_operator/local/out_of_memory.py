"""Whether the kernel ran out of memory: a process that it killed for that ends like any other that gets SIGKILL."""

from pathlib import Path

_COUNTERS = Path("/proc/vmstat")


def kills_so_far(counters: Path = _COUNTERS) -> int | None:
    """Processes that Linux has killed for want of memory since it started, those of full cgroups included.

    None: not known (another system, or a kernel before 4.13).
    """
    try:
        text = counters.read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), None)
