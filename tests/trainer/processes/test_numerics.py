"""The environment of a process does not reach the numbers of a run."""

import os
import subprocess
import sys

import jax
import pytest
from lateen_trainer.processes.numerics import PINNED

OPTIONS = """
import json, jax
from lateen_trainer.processes.numerics import PINNED, pin_numerics
pin_numerics()
key = jax.random.key(7)
print(json.dumps({
    "options": {name: str(jax.config.values[name]) for name in PINNED},
    "drawn": jax.random.normal(key, (3,)).tolist(),
    "dtypes": [str(jax.numpy.arange(3).dtype), str(jax.numpy.zeros(()).dtype)],
}))
"""

HOSTILE = {
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "3",
    "JAX_ENABLE_CUSTOM_PRNG": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_DEBUG_NANS": "1",
}


def numbers(**variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in HOSTILE}
    done = subprocess.run(
        [sys.executable, "-c", OPTIONS], env={**inherited, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_numbers_are_the_same_in_any_environment():
    assert numbers(**HOSTILE) == numbers()


@pytest.mark.parametrize("name", PINNED)
def test_jax_has_the_option(name):
    assert name in jax.config.values
