"""`spec.data`: where text comes from and how it becomes tokens."""

from typing import Any, Literal

from pydantic import Field, model_validator

from lateen_api.quantities import Quantity
from lateen_api.spec.section import Section


class DataSourceSpec(Section):
    """One source of text: files by URL, or a data set of the Hugging Face hub."""

    id: str | None = None
    """Data set on the Hugging Face hub, such as `Skylion007/openwebtext`. Its files are read; a script is never
    run."""

    name: str | None = None
    """Configuration of the Hugging Face data set, where it has several."""

    train_urls: list[str] = Field(default_factory=list)
    """Files to train on: paths or fsspec URLs with glob (`*`, `**`) and brace (`{1..128}`) patterns.
    A pattern that starts with `!` takes the files it matches out again.
    `python-stdlib://` names the source code of the Python standard library of the machine."""

    validation_urls: list[str] = Field(default_factory=list)
    """Files to evaluate on, in the same notation. Without any there is no evaluation."""

    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit of the Hugging Face data set. Default: `main`."""

    split: str = Field(default="train", min_length=1)
    """Split of the Hugging Face data set to train on."""

    validation_split: str | None = Field(default=None, min_length=1)
    """Split of the Hugging Face data set to evaluate on. Without it and `validationUrls` there is no evaluation."""

    text_key: str = "text"
    """Field of a JSON-lines record, or column of a table, that holds the text."""

    format: Literal["text", "chat"] = "text"
    """What a record holds: `text` a document, `chat` a conversation, which the tokenizer's chat template renders. Of
    conversations only the assistant's turns count in the loss."""

    messages_key: str = Field(default="messages", min_length=1)
    """Field of a JSON-lines record, or column of a table, that holds a conversation's messages, each with `role` and
    `content`. For `format: chat`."""

    @property
    def has_validation(self) -> bool:
        """Is there something to evaluate on?"""
        return bool(self.validation_urls or self.validation_split)


class WeightStage(Section):
    """Weights of a mixture that hold from a step on."""

    step: int = Field(ge=0)
    """The first step that trains by these weights, counted from 0: the number of steps that were completed before."""

    weights: dict[str, float] = Field(max_length=64)
    """Share of each named source, as in `trainWeights`."""


class ShuffleSpec(Section):
    """In which order the sequences of the training data are trained on."""

    window: int | None = Field(default=None, ge=1, lt=2**40)
    """Sequences that are shuffled together. null: all of them, so that training begins when all text is tokenised.
    Otherwise the text is cut into windows of so many sequences, and training begins when the first one is tokenised,
    while the rest is tokenised in the background. In the first epoch windows come in the order of the text, in later
    ones they are shuffled too."""


class PrepareSpec(Section):
    """CPU pods that tokenize before and beside training, so that accelerators do not wait for text."""

    hosts: int = Field(default=1, ge=1, le=1024)
    """Pods that tokenize side by side."""

    cpu: Quantity | None = None
    """CPU request and limit of such a pod, as a Kubernetes quantity."""

    memory: Quantity | None = None
    """Memory request and limit of such a pod, as a Kubernetes quantity."""

    spot: bool = False
    """Use spot capacity for these pods. What a pod had tokenized when it was lost is kept by whole parts."""


class DataSpec(DataSourceSpec):
    """Where text comes from and how it becomes tokens."""

    dtype: Literal["uint16", "uint32", "int32", "int64"] | None = None
    """Type of the token ids in `.bin` files, little-endian. Other files do not need it."""

    on_bad_document: Literal["stop", "skip"] = "stop"
    """What a document that cannot be read does: a line that is not JSON, a record without the text, a null.
    `stop` fails the job with the file and the line; `skip` leaves the document out and reports how many and where.
    Broken files always stop."""

    tokenizer: str = Field(default="gpt2", min_length=1, max_length=1024)
    """`bytes` (built in: one token a byte, plus end of text), or a Hugging Face tokenizer:
    a folder, a `tokenizer.json` file, or a name on the hub."""

    shuffle: ShuffleSpec = Field(default_factory=ShuffleSpec)
    """In which order the sequences of the training data are trained on."""

    cache_dir: str | None = None
    """Where tokenised text is kept: a path or fsspec URL. A relative path is below the run's folder.
    Default: `cache` in the run's folder."""

    configs: dict[str, DataSourceSpec] = Field(default_factory=dict, max_length=64)
    """Named sources of a mixture."""

    train_weights: dict[str, float] = Field(default_factory=dict, max_length=64)
    """Share of each named source of `configs` in the training data: weights of at least 0, which need not add up to 1.
    A source without a weight is evaluated only."""

    train_weight_stages: list[WeightStage] = Field(default_factory=list, max_length=64)
    """Weights that change during the run, instead of `trainWeights`: the first stage begins at step 0, each later one
    exactly at its step. Levanter's list of [step, weights] under `train_weights` is read as this."""

    packing: Literal["concatenate", "documents"] = "concatenate"
    """How documents become sequences: `concatenate` cuts one stream of all tokens, `documents` keeps each document by
    itself: attention, positions and loss stay within it, and short documents share a sequence. Longer ones than
    `seqLen` are cut."""

    prepare: PrepareSpec | None = None
    """Let CPU pods tokenize. Training begins when they have tokenized the first window (`shuffle.window`), or all text,
    and does not tokenize itself. null: the trainers tokenize. `lateen run` does not use it."""

    @property
    def weight_stages(self) -> list[WeightStage]:
        """The stages of a mixture; without stages one from step 0 on."""
        return self.train_weight_stages or [WeightStage(step=0, weights=self.train_weights)]

    @property
    def sources(self) -> dict[str, DataSourceSpec]:
        """The sources by name; without a mixture one, whose name is empty."""
        return self.configs or {"": self}

    @model_validator(mode="before")
    @classmethod
    def _read_levanters_stages(cls, data: Any) -> Any:
        """Levanter writes stages as a list of [step, weights] where weights alone would be a mapping."""
        if not isinstance(data, dict):
            return data
        for name in ("train_weights", "trainWeights"):
            stages = data.get(name)
            if isinstance(stages, list | tuple) and all(isinstance(s, list | tuple) and len(s) == 2 for s in stages):
                rest = {key: value for key, value in data.items() if key != name}
                return {**rest, "trainWeightStages": [{"step": step, "weights": given} for step, given in stages]}
        return data
