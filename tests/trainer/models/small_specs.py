"""Small models of every family with every option that changes arrays or results."""

from typing import Any

from lateen_api.hugging_face.config import unwritable_fields
from lateen_api.hugging_face.families import FAMILIES
from lateen_api.spec import JobSpec, ModelSpec

VOCAB = 65
LLAMA = {
    "type": "llama",
    "seqLen": 24,
    "hiddenDim": 32,
    "intermediateDim": 48,
    "numLayers": 3,
    "numHeads": 4,
    "numKvHeads": 2,
}
MISTRAL = {**LLAMA, "type": "mistral", "slidingWindow": 5}
QWEN2 = {**LLAMA, "type": "qwen2"}
QWEN3 = {**LLAMA, "type": "qwen3", "headDim": 16}
GPT2 = {"type": "gpt2", "seqLen": 24, "hiddenDim": 32, "numLayers": 3, "numHeads": 4}

ORIGINAL = {"originalMaxPositionEmbeddings": 8}
LLAMA3 = {"type": "llama3", "factor": 4.0, "lowFreqFactor": 1.0, "highFreqFactor": 4.0, **ORIGINAL}

LLAMA_LIKE: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "llama, a head of keys for each of queries": {**LLAMA, "numKvHeads": None},
    "llama, one head of keys": {**LLAMA, "numKvHeads": 1},
    "llama, tied": {**LLAMA, "tieWordEmbeddings": True},
    "llama, wide heads": {**LLAMA, "headDim": 16},
    "llama, narrow heads": {**LLAMA, "headDim": 6},
    "llama, biases of attention": {**LLAMA, "attentionBias": True},
    "llama, biases of the MLP": {**LLAMA, "mlpBias": True},
    "llama, GELU": {**LLAMA, "activationFunction": "gelu"},
    "llama, all activations kept": {**LLAMA, "gradientCheckpointing": False},
    "llama, upcast": {**LLAMA, "upcastAttn": True},
    "llama, epsilon": {**LLAMA, "layerNormEpsilon": 0.1},
    "llama, theta": {**LLAMA, "rope": {"theta": 500_000.0}},
    "llama, linear": {**LLAMA, "rope": {"type": "linear", "factor": 3.0}},
    "llama, dynamic": {**LLAMA, "rope": {"type": "dynamic", "factor": 3.0}},
    "llama, yarn": {**LLAMA, "rope": {"type": "yarn", "factor": 4.0, **ORIGINAL}},
    "llama, yarn with all options": {
        **LLAMA,
        "rope": {
            "type": "yarn", "factor": 4.0, "betaFast": 3.0, "betaSlow": 0.5, "attentionFactor": 1.3, "truncate": False,
            **ORIGINAL,
        },
    },
    "llama 3": {**LLAMA, "rope": LLAMA3},
    "mistral": MISTRAL,
    "mistral, no window": {**MISTRAL, "slidingWindow": None},
    "mistral, yarn": {**MISTRAL, "rope": {"type": "yarn", "factor": 4.0, **ORIGINAL}},
    "qwen2": QWEN2,
    "qwen2, tied": {**QWEN2, "tieWordEmbeddings": True},
    "qwen2, window": {**QWEN2, "slidingWindow": 5},
    "qwen2, window from the second layer": {**QWEN2, "slidingWindow": 5, "maxWindowLayers": 1},
    "qwen2, types of layers": {
        **QWEN2,
        "slidingWindow": 5,
        "layerTypes": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "qwen2, yarn": {**QWEN2, "rope": {"type": "yarn", "factor": 4.0, **ORIGINAL}},
    "qwen3": QWEN3,
    "qwen3, tied": {**QWEN3, "tieWordEmbeddings": True},
    "qwen3, biases of attention": {**QWEN3, "attentionBias": True},
    "qwen3, types of layers": {
        **QWEN3,
        "slidingWindow": 5,
        "layerTypes": ["full_attention", "sliding_attention", "full_attention"],
    },
}  # fmt: skip

MPT = {"type": "mpt", "seqLen": 24, "hiddenDim": 48, "numLayers": 2, "numHeads": 4}
MPTS: dict[str, dict[str, Any]] = {
    "mpt": MPT,
    "mpt, heads that are no power of two": {**MPT, "numHeads": 6},
    "mpt, one head": {**MPT, "numHeads": 1},
    "mpt, clipped": {**MPT, "clipQkv": 0.4},
    "mpt, norms of queries and keys": {**MPT, "qkLn": True, "clipQkv": 0.4, "numHeads": 3},
    "mpt, steep": {**MPT, "alibiBiasMax": 4.0},
    "mpt, scale of the scores": {**MPT, "softmaxScale": 0.9, "layerNormEpsilon": 0.1},
    "mpt, learned positions": {**MPT, "alibi": False},
    "mpt, all options": {
        **MPT, "alibi": False, "noBias": False, "clipQkv": 0.3, "qkLn": True, "mlpScale": 2, "softmaxScale": 0.5,
        "activationFunction": "gelu_new",
    },
}  # fmt: skip

BACKPACK = {"type": "backpack", "seqLen": 24, "hiddenDim": 32, "numLayers": 3, "numHeads": 2, "numSenses": 4}
BACKPACKS: dict[str, dict[str, Any]] = {
    "backpack": BACKPACK,
    "backpack, one sense": {**BACKPACK, "numSenses": 1, "gradientCheckpointing": False},
    "backpack, narrow MLP": {
        **BACKPACK, "mlpScale": 2, "senseIntermediateScale": 3, "scaleAttnByInverseLayerIdx": False,
        "activationFunction": "gelu", "upcastAttn": True,
    },
}  # fmt: skip

ALL: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "gpt2, wide MLP": {**GPT2, "mlpScale": 6},
    **LLAMA_LIKE,
    **MPTS,
    **BACKPACKS,
}


def small_spec(body: dict[str, Any]) -> ModelSpec:
    """The spec as a job has it."""
    return JobSpec.model_validate({"data": {"trainUrls": ["a.txt"]}, "model": body}).model


IN_HUGGING_FACE_FORMAT = {name: body for name, body in ALL.items() if not unwritable_fields(small_spec(body))}
"""Those that can be imported and exported."""

IN_TRANSFORMERS = {
    name: body for name, body in IN_HUGGING_FACE_FORMAT.items() if FAMILIES[body["type"]].is_in_transformers
}
"""Those of them that transformers itself can load."""
