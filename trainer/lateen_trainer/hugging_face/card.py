"""The model card: README.md of an exported model, from facts of its run."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml
from lateen_api.hugging_face.families import FAMILIES
from lateen_api.plan.lora import adapter_parameters, targeted_layers

from lateen_trainer.hugging_face.about import AboutRun

_HUB = "hf://"
_SHOWN_FILES = 10
_REMOTE = ", trust_remote_code=True"


def model_card(
    about: AboutRun,
    *,
    step: int,
    results: Mapping[str, float | None],
    made_by: Mapping[str, str],
    adapter_alone: bool = False,
) -> str:
    """Content of README.md.

    Args:
        about: the run.
        step: steps trained.
        results: losses in nats per token, by what they are of; None: not known.
        made_by: versions and devices of the run.
        adapter_alone: the folder holds LoRA's adapters without the model that they are for.
    """
    tokens = step * about.tokens_per_step
    model = about.model
    rows = [
        ("Architecture", f"{model.type} ({FAMILIES[model.type].architecture})"),
        ("Parameters", f"{about.parameters:,}"),
        ("Layers, width, heads", f"{model.num_layers}, {model.hidden_dim}, {model.num_heads}"),
        ("Tokens in a training sequence", f"{model.seq_len:,}"),
        ("Vocabulary", f"{about.vocab_size:,} entries, tokenizer {_code(about.tokenizer)}"),
        ("Started from", "random weights" if about.started_from is None else _code(about.started_from)),
        ("Training", f"{step:,} steps of {about.tokens_per_step:,} tokens, {tokens:,} tokens in all"),
        *_lora_rows(about),
        ("Optimizer", ", ".join(f"{name} {value}" for name, value in about.optimizer.items())),
        ("Seed", str(about.seed)),
        *((f"{what} loss", f"{loss:.4f} nats per token") for what, loss in results.items() if loss is not None),
        ("Software", ", ".join(f"{name} {value}" for name, value in {"lateen": version("lateen"), **made_by}.items())),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""---
{yaml.safe_dump(_front_matter(about, adapter_alone), sort_keys=False, allow_unicode=True).strip()}
---
# {about.job}

A language model trained with lateen. The figures below are facts of the run; what it is good for, nobody has written
down yet.

| | |
|---|---|
{table}

Training data:
{_files(about.data)}

```python
{_LOAD_ADAPTER if adapter_alone else _load_whole(about)}
```
"""


def _load_whole(about: AboutRun) -> str:
    remote = "" if FAMILIES[about.model.type].is_in_transformers else _REMOTE
    return f"""from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("."{remote})
tokenizer = AutoTokenizer.from_pretrained(".")"""


_LOAD_ADAPTER = """from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")"""


def _lora_rows(about: AboutRun) -> list[tuple[str, str]]:
    lora = about.lora
    if lora is None:
        return []
    trained = sum(parameter.size for parameter in adapter_parameters(lora, about.model))
    layers = ", ".join(layer.name for layer in targeted_layers(lora, about.model))
    kind = f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}"
    return [("LoRA", f"{kind}, {trained:,} parameters beside {layers}")]


def _front_matter(about: AboutRun, adapter_alone: bool) -> dict[str, Any]:
    library = "peft" if adapter_alone else "transformers"
    facts: dict[str, Any] = {"library_name": library, "pipeline_tag": "text-generation", "tags": ["lateen"]}
    if about.started_from is not None and about.started_from.startswith(_HUB):
        facts["base_model"] = about.started_from.removeprefix(_HUB).partition("@")[0]
    return facts


def _files(data: Sequence[str]) -> str:
    shown = [f"- {_code(url)}" for url in data[:_SHOWN_FILES]]
    if len(data) > _SHOWN_FILES:
        shown.append(f"- and {len(data) - _SHOWN_FILES} more")
    return "\n".join(shown)


def _code(text: str) -> str:
    """Text as it is, whatever marks it holds."""
    return f"`{text.replace('`', '')}`"
