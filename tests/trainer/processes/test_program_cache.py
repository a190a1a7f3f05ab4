"""Where compiled programs are kept, and that a second start uses them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lateen_trainer.processes.program_cache import cache_folder, cpu_fingerprint, keep_compiled_programs
from trainer.processes.gang import Gang

COUNT_COMPILATIONS = """
import logging, sys
from lateen_trainer.processes.accelerator import choose_devices
from lateen_trainer.processes.program_cache import keep_compiled_programs
choose_devices(2)
folder = keep_compiled_programs()
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.rsplit("/")[-1]))
jax.jit(lambda x: (x * 3).sum())(jax.numpy.arange(8.0)).block_until_ready()
print(folder, jax.device_count(), hits.count("cache_hits") > 0, hits.count("cache_misses") > 0)
"""


def test_the_variable_names_the_folder():
    environ = {"LATEEN_COMPILATION_CACHE": "/data/xla/", "HOME": "/home/user"}
    assert cache_folder(environ, "cpu") == "/data/xla/cpu"


def test_a_url_is_a_folder_too():
    assert cache_folder({"LATEEN_COMPILATION_CACHE": "gs://runs/xla"}, "cpu") == "gs://runs/xla/cpu"


def test_an_empty_variable_means_none():
    assert cache_folder({"LATEEN_COMPILATION_CACHE": "", "HOME": "/home/user"}, "cpu") is None


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/user"}, "/home/user/.cache/lateen/xla/cpu"),
        ({"HOME": "/home/user", "XDG_CACHE_HOME": "/cache"}, "/cache/lateen/xla/cpu"),
        ({}, None),
    ],
)
def test_the_default_is_the_users_cache(environ: dict[str, str], folder: str | None):
    assert cache_folder(environ, "cpu") == folder


def test_the_fingerprint_is_the_same_each_time():
    assert cpu_fingerprint() == cpu_fingerprint()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    environ = {"LATEEN_COMPILATION_CACHE": str(tmp_path / "file")}
    assert keep_compiled_programs(environ) is None
    assert "Compiled programs are not kept (" in caplog.text


def test_a_second_start_compiles_nothing(tmp_path: Path):
    def start() -> list[str]:
        environ = {**os.environ, "LATEEN_COMPILATION_CACHE": str(tmp_path)}
        command = [sys.executable, "-c", COUNT_COMPILATIONS]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()

    folder = f"{tmp_path}/{cpu_fingerprint()}"
    assert start() == [folder, "2", "False", "True"]
    assert start() == [folder, "2", "True", "False"]


@pytest.mark.slow
def test_a_second_start_of_several_processes_compiles_nothing_in_any(tmp_path: Path):
    """A restart is as slow as its slowest process, and jax by itself keeps only process 0's programs."""
    environ = {
        "LATEEN_COMPILATION_CACHE": str(tmp_path / "xla"),
        "JAX_DEBUG_LOG_MODULES": "jax._src.compiler",
    }
    recovery = {"heartbeatTimeout": "30s"}
    for attempt in ("first", "second"):
        (tmp_path / attempt).mkdir()
        with Gang(tmp_path / attempt, 2, recovery=recovery, steps=1, environ=environ) as gang:
            assert gang.exits(timeout=60)[0] == {0: 0, 1: 0}
            hits = ["Persistent compilation cache hit for" in gang.log(number) for number in (0, 1)]
            misses = ["PERSISTENT COMPILATION CACHE MISS" in gang.log(number) for number in (0, 1)]
            assert (hits, misses) == (([False] * 2, [True] * 2) if attempt == "first" else ([True] * 2, [False] * 2))
