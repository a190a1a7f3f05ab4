"""Where compiled programs outlive the process, so that a restart need not compile."""

import hashlib
import inspect
import logging
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax

CACHE_VARIABLE = "LATEEN_COMPILATION_CACHE"

log = logging.getLogger(__name__)


def keep_compiled_programs(environ: Mapping[str, str] = os.environ) -> str | None:
    """Gives jax a folder for compiled programs.

    LATEEN_COMPILATION_CACHE names it (empty: none; a URL that jax can write to works too); the default is
    `lateen/xla` in the user's cache folder. Hosts that each have a disk of their own need a shared folder.

    Returns:
        the folder; None: there is none, or it cannot be written to, and every start compiles.
    """
    folder = cache_folder(environ, cpu_fingerprint())
    if folder is None:
        return None
    if "://" not in folder:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            log.warning("Compiled programs are not kept (%s); %s names another folder", error, CACHE_VARIABLE)
            return None
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def cache_folder(environ: Mapping[str, str], fingerprint: str) -> str | None:
    """Where compiled programs are kept, by the environment; None: nowhere.

    Programs compiled for one CPU can end another in SIGILL, or round differently, and a home folder may be
    shared: each kind of CPU has a folder of its own.
    """
    base = environ.get(CACHE_VARIABLE)
    if base is None:
        home = environ.get("XDG_CACHE_HOME") or (f"{environ['HOME']}/.cache" if environ.get("HOME") else None)
        base = f"{home}/lateen/xla" if home else ""
    return f"{base.rstrip('/')}/{fingerprint}" if base else None


def cpu_fingerprint() -> str:
    """A short name for what this machine's CPU can do: the architecture and a digest of its feature flags."""
    features = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"


def write_from_every_process() -> None:
    """Makes all processes of a run on CPU write their programs, not process 0 alone.

    jax lets only process 0 write, which suits accelerators, where all processes look for the same entry. On CPU
    the entries' keys differ from process to process (the topology's fingerprint is in them), so that without
    this every restart would wait for the others to compile. jax has no setting for it: its function that
    writes is replaced, if it still has the arguments that it had in jax 0.10.2.
    """
    from jax._src import compilation_cache, compiler

    before = getattr(compiler, "_cache_write", None)
    put = getattr(compilation_cache, "put_executable_and_time", None)
    arguments = ["cache_key", "compile_time_secs", "module_name", "backend", "executable", "host_callbacks"]
    stored = ["cache_key", "module_name", "executable", "backend", "compile_time"]
    if (
        before is None
        or put is None
        or list(inspect.signature(before).parameters) != arguments
        or list(inspect.signature(put).parameters) != stored
    ):
        log.info("jax %s writes its cache in another way: only process 0 keeps its programs", jax.__version__)
        return

    def write(cache_key, compile_time_secs, module_name, backend, executable, host_callbacks) -> None:
        if host_callbacks:
            return  # a program with pointers into this process
        try:
            put(cache_key, module_name, executable, backend, int(compile_time_secs))
        except Exception as error:
            log.warning("The compiled program %s could not be kept: %s", module_name, error)

    compiler._cache_write = write
