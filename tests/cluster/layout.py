"""An image as a folder in the OCI image layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAG = "dev"
"""What the image is called within its layout."""


@dataclass(frozen=True)
class Blob:
    """A file of the layout, as a descriptor names it."""

    digest: str
    size: int
    """Bytes, as stored: layers are usually compressed."""

    @classmethod
    def of(cls, descriptor: dict[str, Any]) -> "Blob":
        return cls(descriptor["digest"], descriptor["size"])


@dataclass(frozen=True)
class Image:
    """What an image consists of."""

    manifest: Blob
    configuration: Blob
    layers: tuple[Blob, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.manifest, self.configuration, *self.layers)

    @property
    def compressed_size(self) -> int:
        """Bytes that a registry stores and a node downloads."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Layout:
    """The folder of the one image called `name`, as localhost/lateen-trainer:dev."""

    folder: Path
    name: str

    @property
    def exists(self) -> bool:
        return (self.folder / "index.json").exists()

    def image(self) -> Image:
        manifest = Blob.of(self._manifest_descriptor())
        content = json.loads(self.file(manifest).read_text())
        layers = tuple(Blob.of(layer) for layer in content["layers"])
        return Image(manifest, Blob.of(content["config"]), layers)

    def file(self, blob: Blob) -> Path:
        return self.folder / self.path_in_archive(blob)

    @staticmethod
    def path_in_archive(blob: Blob) -> str:
        algorithm, digest = blob.digest.split(":")
        return f"blobs/{algorithm}/{digest}"

    def marker(self) -> bytes:
        """The file oci-layout."""
        return (self.folder / "oci-layout").read_bytes()

    def index_for_import(self) -> bytes:
        """An index.json whose image containerd will call `name`."""
        descriptor = self._manifest_descriptor() | {"annotations": {"io.containerd.image.name": self.name}}
        return json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode()

    def prune(self) -> None:
        """Remove the blobs of earlier images."""
        wanted = {self.file(blob) for blob in self.image().blobs}
        for file in (self.folder / "blobs").glob("*/*"):
            if file not in wanted:
                file.unlink()

    def _manifest_descriptor(self) -> dict[str, Any]:
        # The images of earlier pushes stay in the index, but only the last one has the tag.
        manifests = json.loads((self.folder / "index.json").read_text())["manifests"]
        (tagged,) = (
            of for of in manifests if of.get("annotations", {}).get("org.opencontainers.image.ref.name") == TAG
        )
        return tagged
