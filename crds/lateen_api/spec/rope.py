"""`rope` of a model's spec: rotary position embeddings and their scaling to longer contexts."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Section

RopeType = Literal["default", "linear", "dynamic", "yarn", "llama3"]


class RopeSpec(Section):
    """Rotary position embeddings: Su et al., https://arxiv.org/abs/2104.09864. The fields are those of
    `rope_parameters` in Hugging Face configurations; `type` is `rope_type` there and `theta` is `rope_theta`."""

    type: RopeType = "default"
    """How the frequencies are scaled to longer contexts. `default`: not at all. `linear`: all are divided by `factor`.
    `dynamic`: theta grows with the length of the sequence (NTK-aware). `yarn`: https://arxiv.org/abs/2309.00071.
    `llama3`: that of Llama 3.1, https://arxiv.org/abs/2407.21783."""

    theta: float = Field(default=10_000.0, gt=1)
    """Base of the wavelengths: pair i of a head of size d turns by theta^(-2i / d) per position."""

    factor: float | None = Field(default=None, ge=1)
    """By how much the context grows. For every type but `default`."""

    original_max_position_embeddings: int | None = Field(default=None, ge=1)
    """Context that the model was first trained with. For `dynamic`, `yarn` and `llama3`. Default: the model's."""

    attention_factor: float | None = Field(default=None, gt=0)
    """Factor of the rotated queries and keys. For `yarn`. Default: 0.1 · ln(factor) + 1, or from the two mscales."""

    beta_fast: float | None = Field(default=None, gt=0)
    """Pairs that turn more often than this in the original context are not scaled. For `yarn`. Default: 32."""

    beta_slow: float | None = Field(default=None, gt=0)
    """Pairs that turn less often than this in the original context are scaled by all of `factor`. For `yarn`.
    Default: 1."""

    mscale: float | None = Field(default=None, gt=0)
    """With `mscaleAllDim`: the default of `attentionFactor` is the quotient of (0.1 · m · ln(factor) + 1) of the two.
    For `yarn`."""

    mscale_all_dim: float | None = Field(default=None, gt=0)
    """See `mscale`. For `yarn`."""

    truncate: bool | None = None
    """Round the boundaries between scaled and unscaled pairs to whole pairs. For `yarn`. Default: true."""

    low_freq_factor: float | None = Field(default=None, gt=0)
    """Wavelengths above the original context divided by this are scaled by all of `factor`. For `llama3`."""

    high_freq_factor: float | None = Field(default=None, gt=0)
    """Wavelengths below the original context divided by this are not scaled. For `llama3`: more than
    `lowFreqFactor`."""


REQUIRED_FIELDS: dict[RopeType, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor"}),
    "yarn": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
}
"""Fields of a RopeSpec that each type needs."""

OPTIONAL_FIELDS: dict[RopeType, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset(),
    "dynamic": frozenset({"original_max_position_embeddings"}),
    "yarn": frozenset(
        {
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        }
    ),
    "llama3": frozenset({"original_max_position_embeddings"}),
}
"""Fields that each type takes besides; `type` and `theta` are for all."""
