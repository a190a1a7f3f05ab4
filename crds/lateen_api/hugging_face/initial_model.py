"""`spec.model` of a job that begins with the weights of a folder or of a checkpoint: read from there, or compared."""

from lateen_api.errors import JobError, raise_all
from lateen_api.hugging_face.checkpoint import MANIFEST, read_checkpoint_model
from lateen_api.hugging_face.config import differences, read_model, unwritable_fields
from lateen_api.hugging_face.families import FAMILIES, free_fields
from lateen_api.hugging_face.folder import CONFIG, ModelFolder
from lateen_api.spec import JobSpec, LMTrainingJob, ModelSpec
from lateen_api.wording import camel_case, show

FIELD = "spec.trainer.initializeFrom"


def states_model(spec: JobSpec) -> bool:
    """Does the job itself say what the model is?"""
    if "model" not in spec.model_fields_set:
        return False
    return not spec.model.model_fields_set <= free_fields(spec.model) | {"type"}


def check_initial_model(spec: JobSpec) -> list[JobError]:
    """The error for a job whose model is that of its folder, where nobody has read it, or that would export into it, or
    whose model has options that are not in Hugging Face's format."""
    start, target = spec.trainer.initialize_from, spec.export.hugging_face
    if target is not None and (errors := _unwritable(spec.model)):
        return errors
    if start is None:
        return []
    if target is not None and target.rstrip("/") == start.rstrip("/"):
        message = f"{show(target)} is also {FIELD}, whose weights the export would delete. Name another folder."
        return [JobError("spec.export.huggingFace", message)]
    if states_model(spec):
        return []
    return [
        JobError(
            "spec.model",
            f"is not stated, and {FIELD} {show(spec.trainer.initialize_from)} has neither a config.json nor a "
            "checkpoint that could be read here: `lateen run` and `lateen plan` read them, the operator does not. "
            "State the fields of the model, as `lateen plan JOB -o model` prints them.",
        )
    ]


def _unwritable(model: ModelSpec) -> list[JobError]:
    architecture = FAMILIES[model.type].architecture
    return [
        JobError(
            f"spec.model.{camel_case(name)}",
            f"is {show(value)}, and spec.export.huggingFace asks for a {architecture}: expected {show(only)}, which is "
            "what that class computes. Leave the export out: checkpoints hold the model.",
        )
        for name, value, only in unwritable_fields(model)
    ]


def with_initial_model(job: LMTrainingJob) -> LMTrainingJob:
    """The job with the model of `trainer.initializeFrom`. Without one: the job as it is.

    A job that leaves `spec.model` out takes it from config.json, or from the manifest of a checkpoint. One that states
    no more than how to train takes the other fields from there. Else the two are compared.

    Raises:
        JobError: the folder cannot be read or is of a model that lateen does not have; or the two differ.
    """
    url, spec = job.spec.trainer.initialize_from, job.spec
    if url is None:
        return job
    folder = ModelFolder(url, FIELD)
    found = _read(folder)
    if found is None:
        return job  # what else is there, the trainer will see
    read, where = found
    if "model" not in spec.model_fields_set:
        return _with_model(job, read)
    if not states_model(spec):
        if "type" in spec.model.model_fields_set and spec.model.type != read.type:
            raise_all(_errors(folder, where, [("type", spec.model.type, read.type)]))
        own = {name: getattr(spec.model, name) for name in spec.model.model_fields_set - {"type"}}
        return _with_model(job, read.model_validate({**read.model_dump(), **own}))
    raise_all(_errors(folder, where, differences(spec.model, read)))
    if spec.model.vocab_size is None:
        return _with_model(job, spec.model.model_copy(update={"vocab_size": read.vocab_size}))
    return job


def _read(folder: ModelFolder) -> tuple[ModelSpec, str] | None:
    """The model in a folder, and the file that says so; None: there is neither."""
    config = folder.read_json(CONFIG)
    if config is not None:
        try:
            return read_model(config), CONFIG
        except ValueError as error:
            raise folder.error(f"in {CONFIG}, {error}.") from error
    checkpoint = read_checkpoint_model(folder)
    if checkpoint is None:
        return None
    return checkpoint.model, f"{checkpoint.name}/{MANIFEST}".lstrip("/")


def _errors(folder: ModelFolder, where: str, different: list[tuple[str, object, object]]) -> list[JobError]:
    return [
        JobError(
            f"spec.model.{name}",
            f"is {show(given)}, and {where} of {folder.field} {folder.url} has {show(read)}: expected the same. Leave "
            "spec.model out to take it from there.",
        )
        for name, given, read in different
    ]


def _with_model(job: LMTrainingJob, model: object) -> LMTrainingJob:
    spec = job.spec.model_copy(update={"model": model})
    return job.model_copy(update={"spec": spec})
