"""What a run keeps of the Hugging Face folder that it began with, so that an export gives it back."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lateen_trainer.hugging_face.match import Source
from lateen_trainer.hugging_face.weights import Weights

GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class Imported:
    """The folder's configuration, and the types of its tensors. JSON, kept with every checkpoint."""

    url: str
    config: Mapping[str, Any]
    generation_config: Mapping[str, Any] | None
    dtype: str
    """Type of most tensors, by its name in safetensors."""

    other_dtypes: Mapping[str, str] = field(default_factory=dict)
    """Types of the other tensors, by the names in the family's map."""

    copies: tuple[str, ...] = ()
    """Tensors of the folder that are copies of tied arrays."""

    def dtype_of(self, tensor: str) -> str:
        """The type that a tensor has in the folder."""
        return self.other_dtypes.get(tensor, self.dtype)

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return asdict(self)

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Imported":
        """As it is read back."""
        return Imported(**{**body, "copies": tuple(body["copies"])})

    @staticmethod
    def of(weights: Weights, sources: list[Source], config: Mapping[str, Any]) -> "Imported":
        """What is to be kept of a folder."""
        dtypes = {
            name: weights.tensors[stored].entry.dtype for source in sources for name, stored in source.names.items()
        }
        dtypes |= {copy: weights.tensors[copy].entry.dtype for source in sources for copy in source.copies}
        usual = Counter(dtypes.values()).most_common(1)[0][0]
        return Imported(
            url=weights.folder.url,
            config=config,
            generation_config=weights.folder.read_json(GENERATION_CONFIG),
            dtype=usual,
            other_dtypes={name: dtype for name, dtype in dtypes.items() if dtype != usual},
            copies=tuple(copy for source in sources for copy in source.copies),
        )
