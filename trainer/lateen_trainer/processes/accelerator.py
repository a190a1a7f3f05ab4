"""Sets jax up before its first use: which devices, and how processes talk."""

import jax


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
