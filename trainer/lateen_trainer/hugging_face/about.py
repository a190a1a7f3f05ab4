"""What a checkpoint keeps of its run, so that `lateen export` needs nothing else: JSON beside the arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lateen_api.hugging_face.checkpoint import ABOUT
from lateen_api.masking import masked
from lateen_api.plan import Plan, parameter_count
from lateen_api.spec import LMTrainingJob, LoraSpec, ModelSpec
from pydantic import TypeAdapter

from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.imported import Imported

_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


@dataclass(frozen=True)
class AboutRun:
    """Of which model a checkpoint is, and how it was trained."""

    job: str
    model: ModelSpec
    vocab_size: int
    tokenizer: str
    """`spec.data.tokenizer`."""

    end_of_text: int
    parameters: int
    """Of the model, without adapters."""

    tokens_per_step: int
    optimizer: Mapping[str, Any]
    """`spec.optimizer`, what differs from the defaults and its type."""

    seed: int
    data: tuple[str, ...]
    """`spec.data.trainUrls`, without secrets."""

    started_from: str | None
    """`spec.trainer.initializeFrom`."""

    lora: LoraSpec | None = None
    """`spec.trainer.lora`."""

    imported: Imported | None = None
    averaged: bool = False
    """Are the averaged weights the ones to evaluate and export (`spec.trainer.ema`)?"""

    @staticmethod
    def of(job: LMTrainingJob, plan: Plan, end_of_text: int) -> "AboutRun":
        """What is known before the parameters are."""
        spec, start = job.spec, job.spec.trainer.initialize_from
        optimizer = spec.optimizer.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return AboutRun(
            job=job.metadata.name,
            model=spec.model,
            vocab_size=plan.vocab_size,
            tokenizer=spec.data.tokenizer,
            end_of_text=end_of_text,
            parameters=parameter_count(spec.model, plan.vocab_size),
            tokens_per_step=plan.tokens_per_step,
            optimizer={"type": spec.optimizer.type, "learningRate": spec.optimizer.learning_rate, **optimizer},
            seed=spec.trainer.seed,
            data=(f"hf://datasets/{spec.data.id}",) if spec.data.id else tuple(map(masked, spec.data.train_urls)),
            started_from=None if start is None else masked(start),
            lora=spec.trainer.lora,
            averaged=spec.trainer.ema is not None and spec.trainer.ema.use,
        )

    def with_imported(self, imported: Imported | None) -> "AboutRun":
        """The same of a model that began with a folder."""
        return replace(self, imported=imported)

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "model": self.model.model_dump(mode="json", by_alias=True),
            "optimizer": dict(self.optimizer),
            "lora": None if self.lora is None else self.lora.model_dump(mode="json", by_alias=True),
            "data": list(self.data),
            "imported": None if self.imported is None else self.imported.to_json(),
        }

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any], where: str) -> "AboutRun":
        """As it is read back.

        Args:
            metadata: of the checkpoint.
            where: the checkpoint, for the message.

        Raises:
            UserError: an older version of lateen wrote the checkpoint.
        """
        body = metadata.get(ABOUT)
        if body is None:
            raise UserError(
                f"{where} does not say of which model it is: a version of lateen wrote it that could not export. Go on "
                "with the run for a step (spec.trainer.numTrainSteps), and export the checkpoint of that."
            )
        imported = imported_in(metadata)
        model = _MODEL.validate_python(body["model"])
        own = {"model": model, "data": tuple(body["data"]), "imported": imported, "lora": lora_in(metadata)}
        return AboutRun(**{**body, **own})


def imported_in(metadata: Mapping[str, Any]) -> Imported | None:
    """What the run of a checkpoint began with; None: random weights, or an older version wrote it."""
    body = (metadata.get(ABOUT) or {}).get("imported")
    return None if body is None else Imported.from_json(body)


def lora_in(metadata: Mapping[str, Any]) -> LoraSpec | None:
    """The adapters that a checkpoint was trained with; None: none, or an older version wrote it."""
    body = (metadata.get(ABOUT) or {}).get("lora")
    return None if body is None else LoraSpec.model_validate(body)
