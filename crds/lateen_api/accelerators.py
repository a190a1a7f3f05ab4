"""What can be asked for in `spec.compute.accelerator`: shapes, memory and speed of each type.

TPU topologies and machine types as GKE offers them (https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus),
speeds and memory from the vendors' data sheets: dense bfloat16 FLOP/s, and bytes that a program can really use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lateen_api.wording import closest, listing

GIB = 1 << 30

Kind = Literal["cpu", "gpu", "tpu"]


@dataclass(frozen=True)
class Slice:
    """One TPU slice of a certain topology."""

    topology: str
    chips: int
    chips_per_host: int
    hosts: int


@dataclass(frozen=True)
class Accelerator:
    """A type of accelerator."""

    name: str
    """As in `spec.compute.accelerator`."""

    kind: Kind
    label: str | None = None
    """Value of the node label by which GKE knows it: `cloud.google.com/gke-tpu-accelerator` for a TPU,
    `cloud.google.com/gke-accelerator` for a GPU. None: no label."""

    device_memory: int | None = None
    """Bytes of one JAX device; None: the host's memory, not known here."""

    peak_flops: float | None = None
    """Dense bfloat16 FLOP/s of one JAX device; None: not known."""

    devices_per_chip: int = 1
    """JAX devices of a TPU chip."""

    gpus_per_host: tuple[int, ...] = ()
    """GPUs that a host can have, fewest first."""

    slices: Mapping[str, tuple[int, ...]] | None = None
    """Chips per host with which each TPU topology exists, fewest first."""

    most_cubes: int = 0
    """Topologies of whole cubes (4x4x4 chips) besides those in `slices`, up to this many cubes. 0: none."""

    def slices_of(self, topology: str) -> tuple[Slice, ...]:
        """The slices of this topology: none if it does not exist, several if hosts of different size have it."""
        sides = _sides(topology)
        if sides is None:
            return ()
        chips = _product(sides)
        hosts_of = dict(self.slices or {}).get(topology, (4,) if self._is_cubes(sides) else ())
        return tuple(Slice(topology, chips, per_host, chips // per_host) for per_host in hosts_of)

    def topologies_near(self, topology: str) -> list[str]:
        """A few listed topologies that come nearest to one that does not exist, smallest first."""
        sides = _sides(topology)
        chips = _product(sides) if sides else 1
        listed = list(self.slices or {})
        nearest = sorted(listed, key=lambda t: abs(_chips(t).bit_length() - chips.bit_length()))[:4]
        return sorted(nearest, key=lambda t: (_chips(t), t))

    def _is_cubes(self, sides: tuple[int, ...]) -> bool:
        return (
            len(sides) == 3
            and all(side % 4 == 0 for side in sides)
            and list(sides) == sorted(sides)
            and _product(sides) <= 64 * self.most_cubes
        )


def find_accelerator(name: str) -> Accelerator | None:
    """The accelerator of this name; None: there is none."""
    return next((accelerator for accelerator in ACCELERATORS if accelerator.name == name), None)


def advice_on_name(name: str) -> str:
    """What to write instead of a name that no accelerator has."""
    names = [accelerator.name for accelerator in ACCELERATORS]
    if of_kind := [accelerator.name for accelerator in ACCELERATORS if accelerator.kind == name.lower()]:
        return f"Name the type: {listing(of_kind)}."
    # People write h100, v5p-8, a100: what part of the name they gave decides before its spelling does.
    parts = [known for known in names if name and name.lower() in known]
    if len(parts) > 1:
        return f"Did you mean {listing(parts)}?"
    meant = parts[0] if parts else closest(name, names)
    return f"Did you mean {meant}?" if meant else f"There are {listing(names, 'and')}."


def _sides(topology: str) -> tuple[int, ...] | None:
    parts = topology.split("x")
    return tuple(int(part) for part in parts) if all(part.isdecimal() and int(part) for part in parts) else None


def _product(sides: tuple[int, ...]) -> int:
    chips = 1
    for side in sides:
        chips *= side
    return chips


def _chips(topology: str) -> int:
    return _product(_sides(topology) or (0,))


def _tori(*topologies: str) -> dict[str, tuple[int, ...]]:
    """Three-dimensional topologies, which all come on hosts of four chips."""
    return dict.fromkeys(topologies, (4,))


# `2x4` exists as two hosts of four chips and as one host of eight: the topology alone does not say which.
_FLAT = {
    "1x1": (1,), "2x2": (4,), "2x4": (4, 8), "4x4": (4,), "4x8": (4,), "8x8": (4,), "8x16": (4,), "16x16": (4,),
}  # fmt: skip
_SMALL_TORI = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")


def _tpu(name: str, label: str, *, gib: int, tflops: float, devices_per_chip: int = 1, **shapes) -> Accelerator:
    """gib and tflops are those of a chip."""
    return Accelerator(
        name,
        "tpu",
        label,
        device_memory=gib * GIB // devices_per_chip,
        peak_flops=tflops * 1e12 / devices_per_chip,
        devices_per_chip=devices_per_chip,
        **shapes,
    )


def _gpu(label: str, *, gib: int, tflops: float, per_host: tuple[int, ...]) -> Accelerator:
    return Accelerator(label, "gpu", label, device_memory=gib * GIB, peak_flops=tflops * 1e12, gpus_per_host=per_host)


ACCELERATORS = (
    Accelerator("cpu", "cpu"),
    _tpu(
        "tpu-v4", "tpu-v4-podslice", gib=32, tflops=275,
        slices=_tori(*_SMALL_TORI, "8x8x12", "8x8x16", "8x16x16"),
    ),
    _tpu("tpu-v5e", "tpu-v5-lite-podslice", gib=16, tflops=197, slices=_FLAT),
    _tpu(
        "tpu-v5p", "tpu-v5p-slice", gib=95, tflops=459,
        slices=_tori(*_SMALL_TORI, "8x8x16", "8x16x16", "16x16x16", "16x16x24"), most_cubes=140,
    ),
    _tpu("tpu-v6e", "tpu-v6e-slice", gib=32, tflops=918, slices=_FLAT),
    _tpu(
        "tpu7x", "tpu7x", gib=192, tflops=2307, devices_per_chip=2,
        slices=_tori(*_SMALL_TORI, "8x8x16", "8x16x16", "16x16x16"), most_cubes=144,
    ),
    _gpu("nvidia-l4", gib=22, tflops=121, per_host=(1, 2, 4, 8)),
    _gpu("nvidia-tesla-a100", gib=39, tflops=312, per_host=(1, 2, 4, 8, 16)),
    _gpu("nvidia-a100-80gb", gib=79, tflops=312, per_host=(1, 2, 4, 8)),
    _gpu("nvidia-h100-80gb", gib=79, tflops=989, per_host=(1, 2, 4, 8)),
    _gpu("nvidia-h100-mega-80gb", gib=79, tflops=989, per_host=(8,)),
    _gpu("nvidia-h200-141gb", gib=139, tflops=989, per_host=(8,)),
    _gpu("nvidia-b200", gib=178, tflops=2250, per_host=(8,)),
    _gpu("nvidia-gb200", gib=184, tflops=2500, per_host=(4,)),
)  # fmt: skip
"""All accelerators, by name."""
