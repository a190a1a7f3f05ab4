"""Sets jax up before its first use: which devices, and how processes talk."""

import os

import jax

XLA_THREADS = "NPROC"
"""Variable from which XLA's CPU backend takes the size of its thread pool, rather than from the machine."""


def choose_devices(devices_per_host: int | None, cpu_threads: int | None = None) -> None:
    """Makes jax use that many CPU devices in this process; None: the GPUs or TPUs that it finds.

    Processes talk through gloo if they are several and on CPU, and through the accelerator's own means
    elsewhere.

    Args:
        cpu_threads: size of XLA's pool on CPU, at least as many as devices. Some products are divided among the
            threads along the dimension that is summed, so that bits are equal only where the pools are. None: one
            for each core.
    """
    if cpu_threads is not None:
        # XLA reads its environment when the devices are made, which is later.
        os.environ[XLA_THREADS] = str(cpu_threads)
    # jax would catch SIGTERM for a preemption service of its own; the watching thread does that here.
    jax.config.update("jax_enable_preemption_service", False)
    if devices_per_host is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices_per_host)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
