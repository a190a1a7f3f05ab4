"""`spec.compute`: the machines."""

from typing import Any, Literal

from pydantic import Field

from lateen_api.quantities import Quantity
from lateen_api.spec.section import Duration, LabelledName, ObjectName, Section


class ComputeSpec(Section):
    """The machines that the job asks for."""

    accelerator: str = Field(default="cpu", max_length=63)
    """`cpu`, a TPU type (`tpu-v4`, `tpu-v5e`, `tpu-v5p`, `tpu-v6e`, `tpu7x`) or a GPU type as GKE names it
    (`nvidia-h100-80gb`, …)."""

    topology: str | None = Field(default=None, max_length=32)
    """Chips of a TPU slice, as `2x2x4`."""

    chips_per_host: int | None = Field(default=None, ge=1)
    """Chips of a TPU host, where a topology exists with several (v5e and v6e `2x4`: 4 or 8)."""

    slices: int = Field(default=1, ge=1)
    """TPU slices that the job starts with."""

    min_slices: int | None = Field(default=None, ge=1)
    """Fewest slices it goes on with. Default: `slices`."""

    max_slices: int | None = Field(default=None, ge=1)
    """Most slices it grows to. Default: `slices`."""

    hosts: int = Field(default=1, ge=1)
    """CPU or GPU hosts that the job starts with. For TPUs the topology says how many."""

    min_hosts: int | None = Field(default=None, ge=1)
    """Fewest hosts it goes on with. Default: `hosts`."""

    max_hosts: int | None = Field(default=None, ge=1)
    """Most hosts it grows to. Default: `hosts`."""

    gpus_per_host: int | None = Field(default=None, ge=1)
    """GPUs of a host. Default: all that the accelerator's machine type has."""

    network: Literal["none", "auto", "gke-tcpx", "gke-tcpxo", "gke-rdma"] = "none"
    """GPUDirect between GPU hosts of GKE: `gke-tcpx` (A3 High), `gke-tcpxo` (A3 Mega), `gke-rdma` (A3 Ultra, A4).
    `auto`: by the accelerator, for several hosts with all GPUs. The cluster has to have the networks."""

    devices_per_host: int | None = Field(default=None, ge=1)
    """JAX devices of a CPU host. Default: the host's cores, by the plan."""

    spot: bool = False
    """Use spot capacity."""

    reservation: LabelledName | None = None
    """Name of a reservation to use."""

    queue: LabelledName | None = None
    """Kueue LocalQueue that admits the job."""

    priority_class: ObjectName | None = None
    """PriorityClass of the pods."""

    resize_after: Duration | None = None
    """Go on with fewer hosts when capacity has stayed away for this long. null: wait."""

    image: str | None = None
    """Trainer image. Default: the operator's."""

    image_pull_policy: str | None = None
    """As in Kubernetes: Always, IfNotPresent or Never."""

    cpu: Quantity | None = None
    """CPU request and limit of a pod, as a Kubernetes quantity."""

    memory: Quantity | None = None
    """Memory request and limit of a pod, as a Kubernetes quantity."""

    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the trainer."""

    secrets: list[ObjectName] = Field(default_factory=list, max_length=32)
    """Secrets whose keys become environment variables of the trainer."""

    service_account: ObjectName | None = None
    """Service account of the pods (for Workload Identity). They never get a Kubernetes token."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have, besides those that the accelerator asks for."""

    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    """Tolerations of the pods, as in Kubernetes."""

    volumes: list[dict[str, Any]] = Field(default_factory=list)
    """Volumes of the pods, as in Kubernetes."""

    volume_mounts: list[dict[str, Any]] = Field(default_factory=list)
    """Where the trainer sees the volumes, as in Kubernetes."""

    pod_template: dict[str, Any] = Field(default_factory=dict)
    """Merged into the pod template last: for what has no field of its own. `$remove` as a value takes a field out."""
