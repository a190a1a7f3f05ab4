"""`spec.export`: what is made of the trained model."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Section


class ExportSpec(Section):
    """What is made of the trained model."""

    hugging_face: str | None = Field(default=None, min_length=1, max_length=1024)
    """Folder for the model in Hugging Face's format: a path or `gs://` URL. A relative path is below the run's folder,
    wherever `lateen run` is called; pods need an absolute one. An earlier model in it is replaced. null: no export;
    `lateen export` makes one of a checkpoint."""

    every: int | None = Field(default=None, ge=1)
    """Export each step that is a multiple of this too, into `step-00000100` and so on below `huggingFace`. null: only
    the last step."""

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the exported tensors. null: that of the imported ones, or else of the parameters."""

    lora: Literal["adapter", "merged"] | None = None
    """With `trainer.lora`: `adapter` writes the added matrices alone, as PEFT loads them onto the model that they are
    for; `merged` the model with them added to its weights, as transformers loads it. null: `adapter`."""

    file_megabytes: int = Field(default=5000, ge=1, le=1_000_000)
    """Most megabytes in a file of weights. Each process writes whole files, so several processes write faster into
    several files."""
