"""lateen's side of bench_data, and the limits that it is measured against, each in a process of its own.

data_candidates.py NAME FOLDER JSON     # serves steps (candidate.serve); JSON is bench_data's Work
"""

import functools
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tokenizers
from candidate import serve
from lateen_api.spec import DataSpec
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import sequence_source
from lateen_trainer.data.tokenizer import load_tokenizer

TOKENS = "tokens.u16"


load_once = functools.cache(load_tokenizer)
"""A process of a run loads its tokenizer once. One that is loaded into memory in use lies scattered there, and is up to
a third slower."""


def build(folder: Path, cache: str) -> TokenCache:
    """Builds the cache of the text, or opens it."""
    tokenizer = load_once(str(folder / "tokenizer"))
    spec = DataSpec(tokenizer=tokenizer.name, train_urls=[f"{folder}/text/*.jsonl"])
    return open_or_build_cache(spec, "train", tokenizer, str(folder / cache), progress=lambda _: None, seed=0)


def tokenize(folder: Path, work: dict) -> Callable[[], float]:
    """From JSON lines to a whole cache by builders side by side; gives bytes on disk per token."""
    count, numbers = work["processes"], itertools.count()
    # Processes as they are in the midst of work: they have imported what they need.
    builders = ProcessPoolExecutor(count, get_context("spawn"), initializer=load_tokenizer, initargs=("bytes",))
    list(builders.map(abs, range(count)))

    def step() -> float:
        # A name of its own: builders that are late must not meet a cache that is being deleted.
        cache = f"built-{count}-{next(numbers)}"
        tokens = max(builders.map(_build, [folder] * count, [cache] * count))
        size = sum(path.stat().st_size for path in (folder / cache).rglob("*") if path.is_file())
        shutil.rmtree(folder / cache)
        return size / tokens

    return step


def _build(folder: Path, cache: str) -> int:
    return len(build(folder, cache))


def tokenize_alone(folder: Path, work: dict) -> Callable[[], float]:
    """The tokenizers library alone: texts in memory, tokens dropped."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    lines = [line for path in sorted((folder / "text").iterdir()) for line in path.read_text().split("\n")]
    texts = [json.loads(line)["text"] for line in lines]

    def step() -> float:
        tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return 0.0

    return step


def read(folder: Path, work: dict) -> Callable[[], float]:
    """Batches of the loader, shuffled as a job without `shuffle.window` has them."""
    loader = Loader(
        RunSequences({"": sequence_source(build(folder, "cache"), work["row"] - 1)}, 0), batch_size=work["batch"]
    )
    steps = itertools.count()
    return lambda: float(sum(int(loader.batch(next(steps)).tokens[0, 0]) for _ in range(work["batches"])))


def read_memory_map(folder: Path, work: dict) -> Callable[[], float]:
    """Random rows of a flat file of tokens, mapped into memory: nothing is checked, and no order is kept."""
    tokens, length = np.memmap(folder / TOKENS, np.uint16, "r"), work["row"]
    random = np.random.default_rng(0)

    def step() -> float:
        first = 0
        for _ in range(work["batches"]):
            starts = random.integers(0, len(tokens) - length, work["batch"])
            first += int(np.stack([tokens[start : start + length] for start in starts]).astype(np.int32)[0, 0])
        return float(first)

    return step


CANDIDATES = {"lateen-tokenize": tokenize, "tokenizers": tokenize_alone, "lateen-read": read, "memmap": read_memory_map}


def main() -> None:
    """Serves one candidate."""
    serve(CANDIDATES[sys.argv[1]](Path(sys.argv[2]), json.loads(sys.argv[3])))


if __name__ == "__main__":
    main()
