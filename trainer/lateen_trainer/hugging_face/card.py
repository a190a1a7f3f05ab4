"""The model card: README.md of an exported model, from facts of its run."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml
from lateen_api.hugging_face.families import FAMILIES

from lateen_trainer.hugging_face.about import AboutRun

_HUB = "hf://"
_SHOWN_FILES = 10
_REMOTE = ", trust_remote_code=True"


def model_card(about: AboutRun, *, step: int, results: Mapping[str, float | None], made_by: Mapping[str, str]) -> str:
    """Content of README.md.

    Args:
        about: the run.
        step: steps trained.
        results: losses in nats per token, by what they are of; None: not known.
        made_by: versions and devices of the run.
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
        ("Optimizer", ", ".join(f"{name} {value}" for name, value in about.optimizer.items())),
        ("Seed", str(about.seed)),
        *((f"{what} loss", f"{loss:.4f} nats per token") for what, loss in results.items() if loss is not None),
        ("Software", ", ".join(f"{name} {value}" for name, value in {"lateen": version("lateen"), **made_by}.items())),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""---
{yaml.safe_dump(_front_matter(about), sort_keys=False, allow_unicode=True).strip()}
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
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("."{_REMOTE if not FAMILIES[model.type].is_in_transformers else ""})
tokenizer = AutoTokenizer.from_pretrained(".")
```
"""


def _front_matter(about: AboutRun) -> dict[str, Any]:
    facts: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["lateen"]}
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
