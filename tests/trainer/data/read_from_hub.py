"""Builds caches of data sets of the hub, as `test_hub` asks: the hub's library reads its variables when it is imported.

The argument is JSON: a folder for caches, and a list of fields of `spec.data`. Prints, for each, the documents and the
cache's name, or the error; of a mixture the documents of each source; of conversations the tokens, and which of them
count; as JSON.
"""

import json
import sys
from typing import Any

import numpy as np
from lateen_api.spec import DataSpec
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.job_data import JobData, JobSource
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.errors import TrainerError


def build(cache_dir: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What was built, or why not."""
    spec = DataSpec(**{"tokenizer": "bytes", **fields})
    tokenizer = load_tokenizer(spec.tokenizer)

    def open_cache(source: JobSource) -> TokenCache:
        return open_or_build_cache(
            source.data, source.split, tokenizer, cache_dir, where=source.where, progress=lambda _: None
        )

    try:
        caches = JobData.open(spec, open_cache).train
    except TrainerError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if spec.configs:
        return {name: documents(cache) for name, cache in caches.items()}
    cache = caches[""]
    if cache.has_counted:
        length = len(cache)
        return {
            "tokens": cache.rows(np.array([0]), length)[0].tolist(),
            "counted": cache.counted(np.array([0]), length)[0].tolist(),
        }
    return {
        "documents": documents(cache),
        "cache": cache.url.rpartition("/")[2],
        "files": [file["url"] for file in cache.ledger.files],
    }


def documents(cache: TokenCache) -> list[str]:
    tokens = np.concatenate(list(cache.blocks())).tolist()
    return bytes(10 if token == 256 else token for token in tokens).decode().splitlines()


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    print(json.dumps([build(arguments["cacheDir"], fields) for fields in arguments["specs"]]))
