"""Tests of the trainer run on eight CPU devices in one process."""

import os
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="module")
def fake_gcs() -> Iterator[str]:
    """Address of an object store that a faulty proxy is put before."""
    # Not before: most tests here need neither, and the trainer's modules come after jax has its devices.
    from cluster.object_store import object_store
    from faulty_store import BUCKET

    with object_store(BUCKET) as address:
        yield address
