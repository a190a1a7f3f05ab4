"""A process that builds a cache and may kill itself in the middle, as the tests of `build` start it.

Its argument is JSON: `urls`, `cache_dir`, `tokenizer`, and `die`: the name of a function (`module.function` or
`module.class.function` of lateen_trainer.data) and the number of the call (from 0) before which the process sends
itself SIGKILL; null: it lives, and prints what it built. `part`: bytes of a part (default: that of `Layout`).
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
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
        module, *path, function = name.split(".")
        owner = import_module(f"lateen_trainer.data.{module}")
        for attribute in path:
            owner = getattr(owner, attribute)
        setattr(owner, function, deadly(getattr(owner, function), call))
    build._BATCH = 1000  # so that a batch is about a shard
    cache = open_or_build_cache(
        DataSpec(tokenizer=arguments["tokenizer"], train_urls=arguments["urls"]),
        "train",
        load_tokenizer(arguments["tokenizer"]),
        arguments["cache_dir"],
        progress=lambda now: print(now, file=sys.stderr, flush=True),
        layout=Layout(chunk=64, shard=1024, part=arguments.get("part", Layout.part)),
    )
    cache.verify()
    print(json.dumps({"digest": cache.ledger.digest, "tokens": len(cache), "documents": cache.ledger.documents}))


if __name__ == "__main__":
    main()
