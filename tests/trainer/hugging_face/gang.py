"""Starts `worker` as several processes on loopback, with gloo's collectives."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


def together(count: int, *orders: list, seconds: float = 150) -> list[list[dict]]:
    """What each of `count` processes printed, call by call. Kills them all after that many seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(number), str(count), str(port), json.dumps(orders)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        ends = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [error[-3000:] for process, (_, error) in zip(processes, ends, strict=True) if process.returncode]
    assert not failed, "\n".join(failed)
    return [[json.loads(line) for line in out.splitlines() if line.startswith("{")] for out, _ in ends]
