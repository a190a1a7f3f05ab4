"""What pods get for GPUDirect between GPU hosts of GKE: `spec.compute.network`. Data, never run on such machines.

Sources, in GoogleCloudPlatform/container-engine-accelerators: gpudirect-tcpx/nccl-test-latest.yaml (0e5609b) and
nccl-config.yaml (21ed661); gpudirect-tcpxo/nccl-test-latest.yaml (ced6fa7) and README.md, release of 6 February 2025
(498c872); gpudirect-rdma/nccl-test.yaml (0920249) and nccl-test-a4.yaml (155bfa4). Variables of gIB are from copies of
its script set_nccl_env.sh in other projects' repositories: Google's own comes inside the plug-in's image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lateen_api.errors import JobError
from lateen_api.gpu_network import GPUS, NONE
from lateen_api.plan import Plan
from lateen_api.spec import ComputeSpec
from lateen_api.wording import show

from lateen_operator import names

VOLUME_PREFIX = "gpudirect-"
"""Of the names of the presets' volumes."""

_NETWORKING = "networking.gke.io/"
_LIBRARIES = "/usr/local/nvidia/lib64"
_LIBRARIES_ON_HOST = "/home/kubernetes/bin/nvidia/lib64"
_DEVICES = (*(f"/dev/nvidia{number}" for number in range(GPUS)), "/dev/nvidiactl", "/dev/nvidia-uvm")


@dataclass(frozen=True)
class Daemon:
    """The vendor's process that receives into GPU memory, beside each trainer."""

    name: str
    image: str
    command: tuple[str, ...]
    capabilities: tuple[str, ...]
    devices: tuple[str, ...]
    """Device files of the host, which GKE's device injector gives to the container by an annotation."""


@dataclass(frozen=True)
class Preset:
    """One network: what the annotations, the trainer's container and the pod get."""

    networks: Mapping[str, str]
    """Network by the name of the pod's interface, besides eth0."""

    variables: Mapping[str, str]
    mounts: Mapping[str, tuple[str, str | None]]
    """Folder in the trainer's container and folder of the host (None: one of the pod) by the volume's name."""

    daemon: Daemon | None = None
    daemon_mounts: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    """Of the trainer's container."""


_CHUNKS = {
    "NCCL_DYNAMIC_CHUNK_SIZE": "524288",
    "NCCL_P2P_NET_CHUNKSIZE": "524288",
    "NCCL_P2P_PCI_CHUNKSIZE": "524288",
    "NCCL_P2P_NVL_CHUNKSIZE": "1048576",
}
_HOST_KERNEL = {"sys": ("/hostsysfs", "/sys"), "proc-sys": ("/hostprocsysfs", "/proc/sys")}

_TCPX = Preset(
    networks={f"eth{number}": f"vpc{number}" for number in range(1, 5)},
    variables={
        "LD_LIBRARY_PATH": _LIBRARIES,
        "NCCL_SOCKET_IFNAME": "eth0",
        "NCCL_GPUDIRECTTCPX_CTRL_DEV": "eth0",
        "NCCL_GPUDIRECTTCPX_SOCKET_IFNAME": "eth1,eth2,eth3,eth4",
        "NCCL_GPUDIRECTTCPX_TX_BINDINGS": "eth1:8-21,112-125;eth2:8-21,112-125;eth3:60-73,164-177;eth4:60-73,164-177",
        "NCCL_GPUDIRECTTCPX_RX_BINDINGS": "eth1:22-35,126-139;eth2:22-35,126-139;eth3:74-87,178-191;eth4:74-87,178-191",
        "NCCL_GPUDIRECTTCPX_PROGRAM_FLOW_STEERING_WAIT_MICROS": "500000",
        "NCCL_GPUDIRECTTCPX_UNIX_CLIENT_PREFIX": "/run/tcpx",
        "NCCL_ALGO": "Ring",
        "NCCL_PROTO": "Simple",
        "NCCL_CROSS_NIC": "0",
        "NCCL_NET_GDR_LEVEL": "PIX",
        "NCCL_P2P_PXN_LEVEL": "0",
        "NCCL_NSOCKS_PERTHREAD": "4",
        "NCCL_SOCKET_NTHREADS": "1",
        "NCCL_BUFFSIZE": "4194304",
        **_CHUNKS,
    },
    mounts={"libraries": (_LIBRARIES, _LIBRARIES_ON_HOST), "socket": ("/run/tcpx", None)},
    daemon=Daemon(
        name="tcpx-daemon",
        image="us-docker.pkg.dev/gce-ai-infra/gpudirect-tcpx/tcpgpudmarxd-dev:v2.0.12",
        command=(
            *("/tcpgpudmarxd/build/app/tcpgpudmarxd", "--gpu_nic_preset", "a3vm", "--gpu_shmem_type", "fd"),
            *("--uds_path", "/run/tcpx", "--setup_param", "--verbose 128 2 0"),
        ),
        capabilities=("NET_ADMIN",),
        devices=_DEVICES,
    ),
    daemon_mounts={"libraries": (_LIBRARIES, _LIBRARIES_ON_HOST), "socket": ("/run/tcpx", None), **_HOST_KERNEL},
    capabilities=("IPC_LOCK",),
)

_TCPXO = Preset(
    networks={f"eth{number}": f"vpc{number}" for number in range(1, 9)},
    variables={
        "LD_LIBRARY_PATH": _LIBRARIES,
        "NCCL_SOCKET_IFNAME": "eth0",
        "NCCL_FASTRAK_CTRL_DEV": "eth0",
        "NCCL_FASTRAK_IFNAME": "eth1,eth2,eth3,eth4,eth5,eth6,eth7,eth8",
        "NCCL_FASTRAK_NUM_FLOWS": "2",
        "NCCL_FASTRAK_USE_SNAP": "1",
        "NCCL_FASTRAK_USE_LLCM": "1",
        "NCCL_FASTRAK_LLCM_DEVICE_DIRECTORY": "/dev/aperture_devices",
        "NCCL_FASTRAK_PLUGIN_ACCEPT_TIMEOUT_MS": "600000",
        "NCCL_FASTRAK_ENABLE_CONTROL_CHANNEL": "0",
        "NCCL_FASTRAK_ENABLE_HOTPATH_LOGGING": "0",
        "NCCL_TUNER_PLUGIN": "libnccl-tuner.so",
        "NCCL_TUNER_CONFIG_PATH": f"{_LIBRARIES}/a3plus_tuner_config.textproto",
        "NCCL_SHIMNET_GUEST_CONFIG_CHECKER_CONFIG_FILE": f"{_LIBRARIES}/a3plus_guest_config.textproto",
        "NCCL_ALGO": "Ring,Tree",
        "NCCL_PROTO": "Simple",
        "NCCL_MIN_NCHANNELS": "4",
        "NCCL_CROSS_NIC": "0",
        "NCCL_NET_GDR_LEVEL": "PIX",
        "NCCL_NVLS_ENABLE": "0",
        "NCCL_BUFFSIZE": "8388608",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(GPUS))),
        **_CHUNKS,
    },
    mounts={
        "libraries": (_LIBRARIES, _LIBRARIES_ON_HOST),
        "aperture-devices": ("/dev/aperture_devices", "/dev/aperture_devices"),
    },
    daemon=Daemon(
        name="tcpxo-daemon",
        image="us-docker.pkg.dev/gce-ai-infra/gpudirect-tcpxo/tcpgpudmarxd-dev:v1.0.15",
        command=(
            *("/bin/sh", "-c"),
            "chmod 755 /fts/entrypoint_rxdm_container.sh && exec /fts/entrypoint_rxdm_container.sh "
            "--num_hops=2 --num_nics=8 --uid= --alsologtostderr",
        ),
        capabilities=("NET_ADMIN", "NET_BIND_SERVICE"),
        devices=(*_DEVICES, "/dev/dmabuf_import_helper"),
    ),
    daemon_mounts={"libraries": (_LIBRARIES, _LIBRARIES_ON_HOST), **_HOST_KERNEL},
)

_RDMA = Preset(
    # Google's manifests leave eth1 to the second network card of the host.
    networks={f"eth{number + 2}": f"rdma-{number}" for number in range(GPUS)},
    variables={
        "LD_LIBRARY_PATH": f"/usr/local/gib/lib64:{_LIBRARIES}",
        "NCCL_NET": "gIB",
        "NCCL_CROSS_NIC": "0",
        "NCCL_NET_GDR_LEVEL": "PIX",
        "NCCL_P2P_NET_CHUNKSIZE": "131072",
        "NCCL_NVLS_CHUNKSIZE": "524288",
        "NCCL_IB_ADAPTIVE_ROUTING": "1",
        "NCCL_IB_QPS_PER_CONNECTION": "4",
        "NCCL_IB_TC": "52",
        "NCCL_IB_FIFO_TC": "84",
    },
    mounts={
        "libraries": ("/usr/local/nvidia", "/home/kubernetes/bin/nvidia"),
        "gib": ("/usr/local/gib", "/home/kubernetes/bin/gib"),
    },
)

_PRESETS: Mapping[str, Preset] = {"gke-tcpx": _TCPX, "gke-tcpxo": _TCPXO, "gke-rdma": _RDMA}

_OF_ACCELERATOR: Mapping[str, Mapping[str, str]] = {
    "nvidia-h200-141gb": {"NCCL_TUNER_CONFIG_PATH": "/usr/local/gib/configs/tuner_config_a3u.txtpb"},
    "nvidia-b200": {"NCCL_TUNER_CONFIG_PATH": "/usr/local/gib/configs/tuner_config_a4.txtpb"},
}
"""Variables in which machine types of one network differ."""


def network_variables(plan: Plan) -> dict[str, str]:
    """Environment of the trainer, which the job's own replaces."""
    if plan.network == NONE:
        return {}
    return {**_PRESETS[plan.network].variables, **_OF_ACCELERATOR.get(plan.accelerator, {})}


def network_template(plan: Plan) -> dict[str, Any]:
    """What is merged into the pod template, before the job's own podTemplate; empty without a network."""
    if plan.network == NONE:
        return {}
    preset = _PRESETS[plan.network]
    hosts = {name: folder for name, (_, folder) in {**preset.daemon_mounts, **preset.mounts}.items()}
    capabilities = {"securityContext": {"capabilities": {"add": list(preset.capabilities)}}}
    return {
        "metadata": {"annotations": _annotations(preset)},
        "spec": {
            **({"initContainers": [_side_car(preset.daemon, preset)]} if preset.daemon else {}),
            "containers": [
                {
                    "name": names.CONTAINER,
                    **(capabilities if preset.capabilities else {}),
                    "volumeMounts": _mounts(preset.mounts),
                }
            ],
            "volumes": [
                {"name": VOLUME_PREFIX + name, **({"hostPath": {"path": path}} if path else {"emptyDir": {}})}
                for name, path in hosts.items()
            ],
        },
    }


def check_network(compute: ComputeSpec) -> list[JobError]:
    """Volumes of the job that have the name of a preset's."""
    taken = [volume.get("name") for volume in compute.volumes]
    return [
        JobError("spec.compute.volumes", f"{show(name)} is a name of spec.compute.network's volumes. Rename it.")
        for name in taken
        if compute.network != NONE and str(name).startswith(VOLUME_PREFIX)
    ]


def _annotations(preset: Preset) -> dict[str, str]:
    interfaces = {"eth0": "default", **preset.networks}
    listed = [{"interfaceName": interface, "network": network} for interface, network in interfaces.items()]
    annotations = {
        f"{_NETWORKING}default-interface": "eth0",
        f"{_NETWORKING}interfaces": json.dumps(listed),
    }
    if preset.daemon:
        devices = "".join(f"- path: {device}\n" for device in preset.daemon.devices)
        annotations[f"devices.gke.io/container.{preset.daemon.name}"] = devices
    return annotations


def _side_car(daemon: Daemon, preset: Preset) -> dict[str, Any]:
    """An init container that stays: an ordinary second container would keep the pod from ending."""
    return {
        "name": daemon.name,
        "image": daemon.image,
        "restartPolicy": "Always",
        "command": list(daemon.command),
        "env": [{"name": "LD_LIBRARY_PATH", "value": _LIBRARIES}],
        # The vendor's image runs as root.
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"add": list(daemon.capabilities)},
        },
        "volumeMounts": _mounts(preset.daemon_mounts),
    }


def _mounts(mounts: Mapping[str, tuple[str, str | None]]) -> list[dict[str, Any]]:
    """The host's folders that hold libraries are read only."""
    return [
        {
            "name": VOLUME_PREFIX + name,
            "mountPath": path,
            **({"readOnly": True} if name in ("libraries", "gib") else {}),
        }
        for name, (path, _) in mounts.items()
    ]
