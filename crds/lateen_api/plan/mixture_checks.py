"""What a mixture of sources must say, and what each source must say of itself."""

import itertools
from collections.abc import Iterator

from lateen_api.errors import JobError
from lateen_api.spec import DataSourceSpec, DataSpec
from lateen_api.wording import listing


def check_mixture(data: DataSpec) -> list[JobError]:
    """Sources and weights belong together, and there is something to train on from step 0 on."""
    if not data.configs:
        return [*_weights_without_sources(data)]
    errors = [error for name, source in data.configs.items() for error in _check_source(name, source, data)]
    return [*errors, *_alone(data), *_check_weights(data)]


def check_hub_fields(source: DataSourceSpec, where: str) -> list[JobError]:
    """What says which part of a data set of the hub is meant needs one."""
    fields = (("name", source.name), ("revision", source.revision), ("validationSplit", source.validation_split))
    if source.id is None:
        message = "is for data sets of the Hugging Face hub: expected id beside it. Add it, or leave this out."
        return [JobError(f"{where}.{name}", message) for name, value in fields if value is not None]
    if source.validation_split is not None and source.validation_urls:
        message = "stands beside validationUrls: expected one of them. Remove the other."
        return [JobError(f"{where}.validationSplit", message)]
    return []


def _weights_without_sources(data: DataSpec) -> Iterator[JobError]:
    remedy = "without configs there are no weights. Correct or remove it."
    for name in data.train_weights:
        yield JobError(
            f"spec.data.trainWeights.{name}", f"weighs a source that spec.data.configs does not have: {remedy}"
        )
    if data.train_weight_stages:
        yield JobError("spec.data.trainWeightStages", "has weights of no mixture: expected configs beside it.")


def _check_source(name: str, source: DataSourceSpec, data: DataSpec) -> list[JobError]:
    where = f"spec.data.configs.{name}"
    if source.id is not None and source.train_urls:
        return [JobError(where, "has trainUrls and id: expected one of them. Remove the other.")]
    is_trained_on = any(stage.weights.get(name, 0) > 0 for stage in data.weight_stages)
    if is_trained_on and source.id is None and not source.train_urls:
        return [JobError(where, "has a weight and nothing to train on: expected trainUrls or id. Add one of them.")]
    return check_hub_fields(source, where)


def _alone(data: DataSpec) -> Iterator[JobError]:
    """What belongs to each source of a mixture by itself."""
    for name, value in (("validationUrls", data.validation_urls), ("format", data.format != "text")):
        if value:
            yield JobError(
                f"spec.data.{name}", f"stands beside configs: expected {name} in the sources. Move it into them."
            )


def _check_weights(data: DataSpec) -> Iterator[JobError]:
    if data.train_weights and data.train_weight_stages:
        yield JobError("spec.data", "has trainWeights and trainWeightStages: expected one of them. Remove the other.")
        return
    if not data.train_weights and not data.train_weight_stages:
        example = ", ".join(f"{name}: 1" for name in data.configs)
        yield JobError(
            "spec.data.trainWeights", f"is missing: expected a weight for sources of configs, such as {{{example}}}."
        )
        return
    steps = [stage.step for stage in data.weight_stages]
    if steps[0] != 0 or any(a >= b for a, b in itertools.pairwise(steps)):
        yield JobError(
            "spec.data.trainWeightStages",
            f"begin at steps {listing(steps, 'and')}: expected 0 first, then ascending numbers. Order them.",
        )
    for number, stage in enumerate(data.weight_stages):
        staged = data.train_weight_stages
        where = f"spec.data.trainWeightStages[{number}].weights" if staged else "spec.data.trainWeights"
        yield from _check_stage(where, stage.weights, data)


def _check_stage(where: str, weights: dict[str, float], data: DataSpec) -> Iterator[JobError]:
    for name, weight in weights.items():
        if name not in data.configs:
            yield JobError(
                f"{where}.{name}",
                f"weighs a source that spec.data.configs does not have: expected {listing(list(data.configs))}. "
                "Correct or remove it.",
            )
        elif weight < 0:
            yield JobError(f"{where}.{name}", f"is {weight:g}: expected 0 or more. Use 0 to leave the source out.")
    if not any(weight > 0 for weight in weights.values()):
        yield JobError(where, "has no weight above 0: expected at least one source to train on. Give one a weight.")
