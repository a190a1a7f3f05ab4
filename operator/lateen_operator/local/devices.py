"""The devices of this machine, and how the hosts of a job share them."""

import shutil
import subprocess
from collections.abc import Mapping

from lateen_api.errors import JobError
from lateen_api.spec import ComputeSpec, LMTrainingJob

VISIBLE = "CUDA_VISIBLE_DEVICES"
_REMEDY = "to train on this machine's cores instead: --set spec.compute.accelerator=cpu --hosts 1"
_SECONDS_FOR_DRIVER = 30


def with_local_gpus(job: LMTrainingJob, hosts: int | None, environ: Mapping[str, str]) -> LMTrainingJob:
    """A GPU job that does not say how many GPUs a host has, with this machine's shared out evenly.

    Raises:
        JobError: this machine has no such accelerator.
    """
    compute = job.spec.compute
    if compute.accelerator == "cpu":
        return job
    if compute.accelerator.startswith("tpu"):
        raise JobError(
            "spec.compute.accelerator",
            f"{compute.accelerator}: `lateen run` trains on CPU cores and NVIDIA GPUs, and TPUs are for "
            f"Kubernetes; {_REMEDY}",
        )
    gpus = visible_gpus(environ)
    if not gpus:
        raise JobError(
            "spec.compute.accelerator",
            f"{compute.accelerator}: no NVIDIA GPU was found on this machine (nvidia-smi lists none); {_REMEDY}",
        )
    if compute.gpus_per_host is not None:
        return job
    each = max(1, len(gpus) // (hosts or compute.hosts))
    spec = job.spec.model_copy(update={"compute": compute.model_copy(update={"gpus_per_host": each})})
    return job.model_copy(update={"spec": spec})


def host_environ(compute: ComputeSpec, environ: Mapping[str, str]) -> list[dict[str, str]]:
    """Variables that give each host its devices.

    Args:
        compute: as planned.
        environ: of this process; an own CUDA_VISIBLE_DEVICES limits what is shared out.

    Raises:
        JobError: this machine has too few GPUs.
    """
    if compute.accelerator == "cpu":
        # Without this, jax takes a GPU where there is one.
        return [{"JAX_PLATFORMS": "cpu"}] * compute.hosts
    gpus, each = visible_gpus(environ), compute.gpus_per_host or 1
    if compute.hosts * each > len(gpus):
        raise JobError(
            "spec.compute.hosts",
            f"{compute.hosts} hosts of {each} GPUs need {compute.hosts * each}, and this machine has {len(gpus)}; "
            "ask for fewer by --hosts and --set spec.compute.gpusPerHost=…",
        )
    shares = [gpus[host * each : (host + 1) * each] for host in range(compute.hosts)]
    return [{VISIBLE: ",".join(share), "JAX_PLATFORMS": "cuda"} for share in shares]


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """Names by which CUDA_VISIBLE_DEVICES knows the GPUs that this process may use."""
    if VISIBLE in environ:
        return [name.strip() for name in environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return []
    listing = subprocess.run(
        [driver, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=_SECONDS_FOR_DRIVER,
        check=False,
    )
    return listing.stdout.split() if listing.returncode == 0 else []
