"""A process that builds a cache and may kill itself in the middle, as the tests of `build` start it.

Its argument is JSON: `urls`, `cache_dir`, `tokenizer`, and `die`: the name of a function of `build` and the number
of the call (from 0) before which the process sends itself SIGKILL; null: it lives, and prints what it built.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import count

from lateen_api.spec import DataSpec
from lateen_trainer.data import build
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import load_tokenizer


def deadly(function: Callable, call: int) -> Callable:
    """`function`, before whose given call the process kills itself."""
    calls = count()

    def wrapper(*args, **kwargs):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return wrapper


def main() -> None:
    arguments = json.loads(sys.argv[1])
    if arguments["die"]:
        name, call = arguments["die"]
        setattr(build, name, deadly(getattr(build, name), call))
    build._BATCH = 1000  # so that a batch is about a shard
    cache = open_or_build_cache(
        DataSpec(tokenizer=arguments["tokenizer"], train_urls=arguments["urls"]),
        "train",
        load_tokenizer(arguments["tokenizer"]),
        arguments["cache_dir"],
        is_builder=True,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
        layout=Layout(chunk=64, shard=1024),
    )
    cache.verify()
    print(json.dumps({"digest": cache.ledger.digest, "tokens": len(cache), "documents": cache.ledger.documents}))


if __name__ == "__main__":
    main()
