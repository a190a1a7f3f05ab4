"""Sets jax up before its first use: which devices, and where compiled programs are kept."""

import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax

CACHE_VARIABLE = "LATEEN_COMPILATION_CACHE"

log = logging.getLogger(__name__)


def choose_devices(devices_per_host: int | None) -> None:
    """Makes jax use that many CPU devices in this process; None: the GPUs or TPUs that it finds.

    Processes talk through gloo if they are several and on CPU, and through the accelerator's own means
    elsewhere.
    """
    # jax would catch SIGTERM for a preemption service of its own; the watching thread does that here.
    jax.config.update("jax_enable_preemption_service", False)
    if devices_per_host is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices_per_host)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")


def keep_compiled_programs(environ: Mapping[str, str] = os.environ) -> str | None:
    """Gives jax a folder in which compiled programs outlive the process, so that a restart need not compile.

    LATEEN_COMPILATION_CACHE names it (empty: none; a URL that jax can write to works too); the default is
    `lateen/xla` in the user's cache folder. jax lets process 0 write and all read, so several hosts profit
    only from a shared folder.

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
