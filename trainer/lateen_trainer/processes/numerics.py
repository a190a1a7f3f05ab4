"""Settings of jax that decide the bits of a run, fixed here whatever the environment says.

jax reads each of its options from a variable (`JAX_ENABLE_X64`, `JAX_DEFAULT_PRNG_IMPL`, …). The numbers of a job must
follow from the job, not from the shell or the image that it is started in.
"""

import os
from collections.abc import Mapping

import jax

PINNED: Mapping[str, object] = {
    # types of arrays and of what is computed from them
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_default_matmul_precision": None,
    # random numbers
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_enable_custom_prng": False,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    # which program XLA is given, and how it compiles it
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
    "jax_optimization_level": "UNKNOWN",
    "jax_memory_fitting_level": "O2",
    "jax_compiler_enable_remat_pass": True,
    "jax_use_shardy_partitioner": True,
    "jax_allow_f16_reductions": True,
    "jax_softmax_custom_jvp": False,
    # what is not finite is the loop's business: spec.recovery.onNaN
    "jax_debug_nans": False,
    "jax_debug_infs": False,
}
"""By name of the option; the values are jax 0.10.2's own defaults. Other versions may lack some."""

RECORDED = {
    "xlaFlags": "XLA_FLAGS",
    "libtpuInitArgs": "LIBTPU_INIT_ARGS",
    "tf32Override": "NVIDIA_TF32_OVERRIDE",
}
"""Variables that compilers and libraries read themselves, which may change bits; by their name in a checkpoint."""


def pin_numerics() -> None:
    """Sets jax's options that decide bits. Call it before jax's first use."""
    for name, value in PINNED.items():
        # Another version of jax may have dropped an option; the tests hold the names against the locked one.
        if name in jax.config.values:
            jax.config.update(name, value)


def recorded_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment tells compilers and libraries, as a checkpoint keeps it; "none" for what it does not."""
    return {name: " ".join(sorted(environ.get(variable, "").split())) or "none" for name, variable in RECORDED.items()}
