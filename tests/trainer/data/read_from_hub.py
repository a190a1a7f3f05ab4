"""Builds caches of data sets of the hub, as `test_hub` asks: the hub's library reads its variables when it is imported.

The argument is JSON: a folder for caches, and a list of fields of `spec.data`. Prints, for each, the documents and the
cache's name, or the error; as JSON.
"""

import json
import sys
from typing import Any

import numpy as np
from lateen_api.spec import DataSpec
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import TrainerError


def build(cache_dir: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What was built, or why not."""
    spec = DataSpec(tokenizer="bytes", **fields)
    try:
        cache = open_or_build_cache(spec, "train", ByteTokenizer(), cache_dir, is_builder=True, progress=lambda _: None)
    except TrainerError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    tokens = np.concatenate(list(cache.blocks())).tolist()
    text = bytes(10 if token == 256 else token for token in tokens).decode()
    return {
        "documents": text.splitlines(),
        "cache": cache.url.rpartition("/")[2],
        "files": [file["url"] for file in cache.ledger.files],
    }


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    print(json.dumps([build(arguments["cacheDir"], fields) for fields in arguments["specs"]]))
