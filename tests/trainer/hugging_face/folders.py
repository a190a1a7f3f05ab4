"""Folders in Hugging Face's format, with random weights, as transformers itself writes them."""

import json
from pathlib import Path
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from haliax import Axis
from lateen_api.hugging_face.config import write_config
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec import ModelSpec
from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import Source, match
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import FAMILIES, init_model, make_config
from transformers import AutoConfig, AutoModelForCausalLM

FIELD = "spec.trainer.initializeFrom"


def random_reference(spec: ModelSpec, vocab_size: int, *, dtype: torch.dtype = torch.float32) -> Any:
    """A model of transformers, with weights of which none is left as 0 or 1."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**write_config(spec, vocab_size))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype).eval()


def load(
    folder: Path, spec: ModelSpec, vocab_size: int, *, data: int = 1, model: int = 1, url: str | None = None
) -> Any:
    """The model of a folder, over a mesh of `data` × `model` devices."""
    weights = Weights(ModelFolder(url or str(folder), FIELD))
    return load_from(weights, spec, vocab_size, data=data, model=model)


def load_from(weights: Weights, spec: ModelSpec, vocab_size: int, *, data: int = 1, model: int = 1) -> Any:
    """The same from files that are open."""
    template = template_of(spec, vocab_size, data=data, model=model)
    arrays = load_arrays(weights, sources_of(weights, spec, vocab_size, data=data, model=model))
    return jax.tree.unflatten(jax.tree.structure(template), arrays)


def sources_of(weights: Weights, spec: ModelSpec, vocab_size: int, *, data: int = 1, model: int = 1) -> list[Source]:
    """Where the arrays of the model are in the folder."""
    leaves = named_leaves(template_of(spec, vocab_size, data=data, model=model))
    return match(weights, FAMILIES[spec.type].tensors, leaves)


def template_of(spec: ModelSpec, vocab_size: int, *, data: int = 1, model: int = 1) -> Any:
    """Shapes and shardings of a model over a mesh of `data` × `model` devices."""
    rules = ShardingRules(make_mesh(data, model, jax.devices()[: data * model]))
    config = make_config(spec, vocab_size)
    shapes = jax.eval_shape(lambda: init_model(config, key=jax.random.key(0)))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        rules.shardings(shapes),
    )


def logits_of(model: Any, tokens: np.ndarray) -> np.ndarray:
    """[batch, position, vocab]"""
    axes = (Axis("batch", tokens.shape[0]), Axis("position", tokens.shape[1]))
    return np.asarray(
        model.logits(hax.named(jnp.asarray(tokens), axes)).rearrange(("batch", "position", "vocab")).array
    )


def reference_logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    """The same of transformers."""
    with torch.no_grad():
        return model(torch.from_numpy(tokens)).logits.float().numpy()


def read_config(folder: Path) -> dict[str, Any]:
    """Content of config.json."""
    return json.loads((folder / "config.json").read_text())
