"""Is an exported folder the model? Its parameters are read back, and transformers computes with it."""

from pathlib import Path
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from haliax import Axis
from lateen_api.hugging_face.families import FAMILIES
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec.model import ModelSpec

from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.errors import TrainerError, UserError
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import match
from lateen_trainer.hugging_face.safetensors import DTYPES
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.models.families import tensor_map

TOLERANCE = 1e-4
"""Greatest difference of two logits, as a part of the largest one (or of 1, if that is more)."""

_SEQUENCES, _POSITIONS = 2, 256


def verify_folder(folder: Path, spec: ModelSpec, model: Any) -> str:
    """Compares an exported folder with the model.

    Args:
        folder: on this machine.
        spec: of the model.
        model: what was exported.

    Returns:
        What was found, in a sentence. Logits are compared where the family's class is one of transformers: no code of
        other origin is run.

    Raises:
        UserError: transformers or torch is missing.
        TrainerError: the folder is another model.
    """
    family = FAMILIES[spec.type]
    if not family.is_in_transformers:
        _read_back(folder, spec, model)
        return (
            f"Verified: the parameters are those of the checkpoint. transformers has no {family.architecture} of its "
            "own, so that no logits were compared."
        )
    try:
        import torch
        import transformers
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise UserError(f"--verify needs transformers and torch ({error}). Install them, or leave it out.") from error
    read = _read_back(folder, spec, model)
    context = min(_POSITIONS, spec.seq_len)
    tokens = np.random.default_rng(0).integers(0, read.lm_head.resolve_axis("vocab").size, (_SEQUENCES, context))
    ours = _logits(read, tokens)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        theirs = reference(torch.from_numpy(tokens)).logits.numpy()
    difference = float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(theirs).max())))
    if not difference <= TOLERANCE:
        raise TrainerError(
            f"{folder}: transformers {transformers.__version__} computes other logits: they differ by {difference:.1e} "
            f"of the largest, expected at most {TOLERANCE:.0e}. Do not use the folder, and report this."
        )
    return (
        f"Verified: the parameters are those of the checkpoint, and the logits of transformers "
        f"{transformers.__version__} at {tokens.size} positions differ by at most {difference:.1e} of the largest."
    )


def _read_back(folder: Path, spec: ModelSpec, model: Any) -> Any:
    """The model in the folder, whose parameters must be those of `model`, rounded to the types of the files."""
    weights = Weights(ModelFolder(str(folder), "FOLDER"))
    leaves = named_leaves(model)
    sources = match(weights, tensor_map(spec.type), leaves)
    arrays = load_arrays(weights, sources)
    for source, array in zip(sources, arrays, strict=True):
        dtypes = {weights.tensors[name].entry.dtype for name in source.names.values()}
        values, wanted = np.asarray(array), np.asarray(source.leaf.array)
        rounded = [wanted.astype(DTYPES[dtype]).astype(values.dtype) for dtype in dtypes]
        is_same = np.any([values == each for each in rounded], axis=0) | np.isnan(values)
        if not is_same.all():
            raise TrainerError(f"{folder}: {source.tensors.name} is not what was exported. Export it again.")
    return jax.tree.unflatten(jax.tree.structure(model), arrays)


def _logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    Batch, Pos = Axis("batch", tokens.shape[0]), Axis("position", tokens.shape[1])
    logits = model.logits(hax.named(jnp.asarray(tokens), (Batch, Pos)))
    return np.asarray(logits.rearrange(("batch", "position", "vocab")).array, np.float32)
