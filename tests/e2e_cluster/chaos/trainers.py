"""Processes of trainers, found on this machine by their pod: signals reach them past Kubernetes."""

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def trainers_of(pod_uid: str) -> list[int]:
    """The process ids of a pod's trainer; empty: it does not run (yet, any more)."""
    # The systemd driver of control groups writes a uid with underscores.
    names = (pod_uid, pod_uid.replace("-", "_"))
    return [pid for pid, group in _trainers().items() if any(name in group for name in names)]


def signal_trainer(pod_uid: str, number: signal.Signals) -> bool:
    """Sends a signal. Returns whether there was a process to send it to."""
    pids = trainers_of(pod_uid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return bool(pids)


def _trainers() -> dict[int, str]:
    """Control groups of all processes that run `lateen train`."""
    found = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if b"train" in arguments and any(argument.endswith(b"lateen") for argument in arguments):
                found[int(folder.name)] = (folder / "cgroup").read_text()
    return found
