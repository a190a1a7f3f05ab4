"""The exports of a run: when, and where to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen_api.files import resolve_folder
from lateen_api.spec import ExportSpec

from lateen_trainer import storage
from lateen_trainer.checkpoint.folder import step_name
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.adapter import ExportedAdapter, export_adapter
from lateen_trainer.hugging_face.card import model_card
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, Together, export_model
from lateen_trainer.models.lora import LoraModel, merged

FIELD = "spec.export.huggingFace"
_MEGABYTE = 1_000_000


def check_destination(spec: ExportSpec, run_dir: Path) -> None:
    """Writes and deletes something where the exports of a run go; nothing where the job asks for none.

    Args:
        spec: `spec.export`.
        run_dir: folder that a relative path is below.

    Raises:
        UserError, TrainerError: they cannot be written there.
    """
    if (url := _folder(spec, run_dir)) is not None:
        Destination(url, field=FIELD).check_writable()


def _folder(spec: ExportSpec, run_dir: Path) -> str | None:
    return None if spec.hugging_face is None else resolve_folder(spec.hugging_face, run_dir)


class Exports:
    """Exports the model of a run in Hugging Face's format. Every process has one, and all call the same methods.

    Args:
        spec: `spec.export`.
        run_dir: folder that a relative path is below.
        about: the run.
        made_by: versions and devices of the run.
        together: this process among the others.
    """

    def __init__(
        self, spec: ExportSpec, run_dir: Path, about: AboutRun, made_by: Mapping[str, str], together: Together
    ):
        self._spec, self._about, self._made_by, self._together = spec, about, made_by, together
        self._url = _folder(spec, run_dir)

    def is_due(self, step: int) -> bool:
        """Is there an export after this step, which is not the last?"""
        return self._url is not None and self._spec.every is not None and step % self._spec.every == 0

    def write_step(self, step: int, model: Any, losses: Mapping[str, float | None]) -> None:
        """Exports the model after `step` steps into a folder of its own.

        Args:
            step: steps trained.
            model: the model.
            losses: see `model_card`.

        Raises:
            UserError, TrainerError: it cannot be written.
        """
        assert self._url is not None
        self._write(storage.join(self._url, step_name(step)), step, model, losses)

    def write_last(self, step: int, model: Any, losses: Mapping[str, float | None]) -> None:
        """Exports the trained model, if the job asks for it."""
        if self._url is not None:
            self._write(self._url, step, model, losses)

    def _write(self, url: str, step: int, model: Any, losses: Mapping[str, float | None]) -> None:
        facts = Facts(step, losses, self._made_by)
        write_model(model, self._about, facts, Destination(url, field=FIELD), self._spec, self._together)


@dataclass(frozen=True)
class Facts:
    """What the model card says besides what is known of the run from its beginning."""

    step: int
    """Steps trained."""

    losses: Mapping[str, float | None]
    made_by: Mapping[str, str]


def write_model(
    model: Any,
    about: AboutRun,
    facts: Facts,
    destination: Destination,
    spec: ExportSpec,
    together: Together | None = None,
) -> None:
    """Exports a run's model: as a whole, or its adapters alone.

    Args:
        model: as it is trained, its arrays over the devices of all processes.
        about: the run.
        facts: for the card.
        destination: the folder.
        spec: how to export.
        together: None: this process is alone.

    Raises:
        UserError, TrainerError, OSError: it cannot be written.
    """
    adapter_alone = isinstance(model, LoraModel) and spec.lora != "merged"
    card = model_card(about, step=facts.step, results=facts.losses, made_by=facts.made_by, adapter_alone=adapter_alone)
    if adapter_alone:
        assert about.lora is not None, "a model has adapters since the job asks for them"
        adapter = ExportedAdapter(about.lora, about.model, about.started_from, about.tokenizer, card, spec.dtype)
        export_adapter(model, adapter, destination, together=together)
        return
    whole = exported(about, card, spec.dtype)
    export_model(merged(model), whole, destination, file_bytes=file_bytes(spec), together=together)


def file_bytes(spec: ExportSpec) -> int:
    """Bytes of a file of weights, at most."""
    return spec.file_megabytes * _MEGABYTE


def exported(about: AboutRun, card: str, dtype: str | None) -> ExportedModel:
    """A run's model as it is exported."""
    return ExportedModel(about.model, about.vocab_size, about.tokenizer, about.end_of_text, card, about.imported, dtype)
