"""`spec.compute.network`: which GPUDirect network of GKE a job's GPU hosts use. What pods get of it is the operator's.

Machine types and their networks: "About GPUs in GKE" and "Maximize GPU network bandwidth in Standard mode clusters"
(Google Cloud documentation).
"""

from collections.abc import Mapping

from lateen_api.errors import JobError
from lateen_api.spec import ComputeSpec
from lateen_api.wording import listing, show

FIELD = "spec.compute.network"
NONE = "none"
AUTO = "auto"

GPUS = 8
"""GPUs of a host of each of these machine types. The networks belong to whole hosts."""

ACCELERATORS: Mapping[str, tuple[str, ...]] = {
    "gke-tcpx": ("nvidia-h100-80gb",),
    "gke-tcpxo": ("nvidia-h100-mega-80gb",),
    "gke-rdma": ("nvidia-h200-141gb", "nvidia-b200"),
}
"""Accelerators of the machine types that have each network: A3 High; A3 Mega; A3 Ultra and A4."""


def network_of(compute: ComputeSpec, *, gpus: int, most_hosts: int) -> str:
    """The preset that a job's pods get; `none`: they have the pod's own network only.

    Args:
        compute: the job's.
        gpus: of a host; 0 where it has none.
        most_hosts: that the job may have. A single host needs no network.

    Raises:
        JobError: the preset is for other machines.
    """
    if compute.network == AUTO:
        fitting = [name for name, accelerators in ACCELERATORS.items() if compute.accelerator in accelerators]
        return fitting[0] if fitting and gpus == GPUS and most_hosts > 1 else NONE
    if compute.network == NONE:
        return NONE
    accelerators = ACCELERATORS[compute.network]
    if compute.accelerator not in accelerators:
        raise JobError(
            FIELD,
            f"{show(compute.network)} is for {listing(accelerators)}, and spec.compute.accelerator is "
            f"{compute.accelerator}. Use {AUTO} or {NONE}, or that accelerator.",
        )
    if gpus != GPUS:
        raise JobError(
            FIELD,
            f"{show(compute.network)} needs all {GPUS} GPUs of a host, and spec.compute.gpusPerHost is {gpus}. "
            f"Use {GPUS}, or {NONE}.",
        )
    return compute.network
