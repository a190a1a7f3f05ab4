"""`spec.export`: what is made of the trained model."""

from lateen_api.spec.section import Section


class ExportSpec(Section):
    """What is made of the trained model."""

    hugging_face: str | None = None
    """Folder for the model in Hugging Face's format: a path or fsspec URL."""
