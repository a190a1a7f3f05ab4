"""Models that cannot be built: numbers that do not fit each other."""

from lateen_api.errors import JobError
from lateen_api.plan.units import divisors_near
from lateen_api.spec.model import BackpackSpec, LlamaLikeSpec, ModelSpec
from lateen_api.spec.model.llama import QwenSpec
from lateen_api.spec.rope import OPTIONAL_FIELDS, REQUIRED_FIELDS, RopeSpec
from lateen_api.wording import camel_case, listing


def check_shapes(model: ModelSpec) -> list[JobError]:
    """One error for each pair of fields of `spec.model` that contradict each other."""
    errors = []
    if isinstance(model, LlamaLikeSpec):
        errors += [*_grouped_heads(model), *_rope(model.rope)]
    if getattr(model, "head_dim", None) is None:
        errors += _width_of_heads(model)
    if isinstance(model, BackpackSpec):
        errors += _senses(model)
    if isinstance(model, QwenSpec):
        errors += _windows(model)
    return errors


def _width_of_heads(model: ModelSpec) -> list[JobError]:
    heads = model.num_heads
    if model.hidden_dim % heads == 0:
        return []
    below = model.hidden_dim // heads * heads
    near = listing([n for n in (below, below + heads) if n])
    return [
        JobError(
            "spec.model.hiddenDim", f"{model.hidden_dim} is not a multiple of spec.model.numHeads, {heads}. Use {near}."
        )
    ]


def _senses(model: BackpackSpec) -> list[JobError]:
    if model.hidden_dim % model.num_senses == 0:
        return []
    return [
        JobError(
            "spec.model.numSenses",
            f"{model.num_senses} does not divide spec.model.hiddenDim, {model.hidden_dim}: expected a divisor. Use "
            f"{listing(divisors_near(model.hidden_dim, model.num_senses))}.",
        )
    ]


def _grouped_heads(model: LlamaLikeSpec) -> list[JobError]:
    errors = []
    if model.num_heads % model.kv_heads:
        errors.append(
            JobError(
                "spec.model.numKvHeads",
                f"{model.kv_heads} does not divide spec.model.numHeads, {model.num_heads}: expected a divisor, since "
                f"as many heads share each. Use {listing(divisors_near(model.num_heads, model.kv_heads))}.",
            )
        )
    if model.head_size % 2:
        per_head = 1 if model.head_dim is not None else model.num_heads
        near = listing([size * per_head for size in (model.head_size - 1, model.head_size + 1) if size])
        where, given = (
            ("headDim", f"{model.head_dim} is")
            if model.head_dim is not None
            else ("hiddenDim", f"{model.hidden_dim} makes {model.num_heads} heads whose width, {model.head_size}, is")
        )
        errors.append(
            JobError(
                f"spec.model.{where}",
                f"{given} odd: expected even widths of heads, since rotary embeddings turn pairs. Use {near}.",
            )
        )
    return errors


def _rope(rope: RopeSpec) -> list[JobError]:
    """Fields that the type of scaling needs, or does not have."""
    needed, optional = REQUIRED_FIELDS[rope.type], OPTIONAL_FIELDS[rope.type]
    errors = []
    for name in RopeSpec.model_fields:
        if name in ("type", "theta"):
            continue
        where, is_given = f"spec.model.rope.{camel_case(name)}", getattr(rope, name) is not None
        if name in needed and not is_given:
            errors.append(JobError(where, f"missing: the type {rope.type} needs it. Add it."))
        if is_given and name not in needed | optional:
            owners = [kind for kind in REQUIRED_FIELDS if name in REQUIRED_FIELDS[kind] | OPTIONAL_FIELDS[kind]]
            errors.append(
                JobError(
                    where,
                    f"is not for the type {rope.type}, but for {listing(owners, 'and')}. Remove it, or change "
                    "spec.model.rope.type.",
                )
            )
    low, high = rope.low_freq_factor, rope.high_freq_factor
    if low is not None and high is not None and high <= low:
        errors.append(
            JobError(
                "spec.model.rope.highFreqFactor", f"{high:g} is not more than lowFreqFactor, {low:g}. Make it larger."
            )
        )
    return errors


def _windows(model: QwenSpec) -> list[JobError]:
    if model.layer_types is None:
        return []
    where = "spec.model.layerTypes"
    if len(model.layer_types) != model.num_layers:
        return [
            JobError(
                where,
                f"has {len(model.layer_types)} entries for spec.model.numLayers, {model.num_layers}: expected one for "
                "each layer. Add or remove some.",
            )
        ]
    if "sliding_attention" in model.layer_types and model.sliding_window is None:
        return [
            JobError(
                where,
                "has sliding_attention, but there is no spec.model.slidingWindow. Add it, or use full_attention only.",
            )
        ]
    if model.max_window_layers:
        return [
            JobError(
                where,
                f"says what spec.model.maxWindowLayers, {model.max_window_layers}, says too. Remove one of the two.",
            )
        ]
    return []
