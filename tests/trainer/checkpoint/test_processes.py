"""Several processes save one checkpoint and restore it, on loopback, with gloo's collectives."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("worker.py")


def together(count: int, *orders, devices: int = 2) -> list[list]:
    """What each of `count` processes printed, call by call. Kills them all after two minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(number), str(count), str(port), str(devices), json.dumps(orders)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        ends = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    printed = [[json.loads(line) for line in out.splitlines() if line[0] in "{n"] for out, _ in ends]
    failed = [error[-3000:] for process, (_, error) in zip(processes, ends, strict=True) if process.returncode == 1]
    assert not failed, "\n".join(failed)
    return printed


@pytest.mark.slow
def test_two_processes_save_and_any_number_restores(tmp_path):
    """Buys that a job may come back with other hosts: saved by 2 with FSDP × TP, restored by 1, 2 and 4."""
    folder = {"folder": str(tmp_path)}
    together(2, ["save", {**folder, "steps": [5, 6], "model": 2}])
    for count in (1, 2, 4):
        got = together(count, *(["restore", {**folder, "model": model}] for model in (1, 2)))
        assert got == [[{"step": 6, "same": True}] * 2] * count, count


@pytest.mark.slow
def test_four_processes_save_and_one_restores(tmp_path):
    """Buys that a job may shrink to one host."""
    folder = {"folder": str(tmp_path)}
    together(4, ["save", {**folder, "steps": [5], "model": 1}])
    assert together(1, ["restore", {**folder, "model": 2}], devices=8) == [[{"step": 5, "same": True}]]


@pytest.mark.slow
def test_a_process_reads_only_its_bytes(tmp_path):
    """Buys that restoring takes as long with many hosts as with few: 32 MiB saved by 2, a quarter read by each of 4."""
    folder = {"folder": str(tmp_path)}
    together(2, ["save_rows", folder], devices=1)
    got = together(4, ["restore_rows", folder], devices=1)
    assert all(process[0]["same"] for process in got)
    assert all(8 << 20 <= process[0]["bytes"] < (8 << 20) + 10_000 for process in got), got


@pytest.mark.slow
def test_damage_seen_by_one_process_is_passed_by_by_all(tmp_path):
    """Buys that processes never restore different steps: only process 1 reads the damaged file."""
    folder = {"folder": str(tmp_path)}
    together(2, ["save", {**folder, "steps": [5], "model": 1}])
    kept = tmp_path / "step-00000005"
    kept.rename(tmp_path / "kept")
    together(2, ["save", {**folder, "steps": [6], "model": 1}])
    (tmp_path / "kept").rename(kept)
    data = tmp_path / "step-00000006" / "arrays" / "model.bias" / "c" / "1"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    got = together(2, ["restore", {**folder, "model": 1}])
    assert got == [[{"step": 5, "same": True}]] * 2
    assert (tmp_path / "step-00000006.corrupt").is_dir()


@pytest.mark.slow
def test_a_process_that_vanishes_leaves_an_error_and_the_checkpoint_before(tmp_path):
    """Buys that a save ends when a host is gone: within its time, with a message, and nothing half committed."""
    first, _ = together(2, ["lose_a_peer", {"folder": str(tmp_path)}])
    assert first[0]["error"] == "LostPeerError"
    assert "step-00000006: not written within 2 s by process 1 of 2" in first[0]["message"]
    assert together(1, ["restore", {"folder": str(tmp_path), "model": 1}])[0][0]["step"] == 5
