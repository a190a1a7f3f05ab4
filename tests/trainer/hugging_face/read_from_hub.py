"""Reads a model from the first argument and compares it with the folder in the second."""

import sys

import numpy as np
from lateen_api.errors import JobError
from lateen_api.hugging_face.config import read_model
from lateen_api.hugging_face.folder import ModelFolder
from lateen_trainer.hugging_face.safetensors import DTYPES
from lateen_trainer.hugging_face.weights import Weights


def main(url: str, folder: str) -> str:
    """What was found."""
    remote, local = ModelFolder(url, "spec.trainer.initializeFrom"), ModelFolder(folder, "folder")
    try:
        config = remote.read_json("config.json")
    except JobError as error:
        return str(error)
    if config is None or read_model(config) != read_model(local.read_json("config.json") or {}):
        return "another configuration"
    ours, theirs = Weights(remote), Weights(local)
    for name, place in theirs.tensors.items():
        box = tuple((0, size) for size in place.entry.shape)
        values = [np.empty(place.entry.shape, DTYPES[place.entry.dtype]) for _ in range(2)]
        for weights, target in zip((ours, theirs), values, strict=True):
            weights.read(name, box, target)
        if not np.array_equal(*values):
            return f"{name} differs"
    return "the same"


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2]))
