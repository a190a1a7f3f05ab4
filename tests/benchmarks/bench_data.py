"""The data station beside its limits: the tokenizers library alone, and rows of a plain memory map.

    python tests/benchmarks/bench_data.py [--rounds 3]

A byte-level BPE of 16,384 tokens is trained on the Python standard library, which is then tokenised: once by the
library alone (`encode_batch_fast` of all files, ids dropped), once into a cache on disk. Random sequences of
1,024 tokens are read from the cache in the order of training, and from one flat file of uint16 tokens in memory.
Sides take turns, so that both see the same machine; medians are printed, with the CPU seconds they took.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tokenizers
from lateen_api.spec import DataSpec
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import sequence_source
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.data.urls import expand_urls
from machine import machine
from tokenizers import models, pre_tokenizers, trainers

URLS = ["python-stdlib://**/*.py"]
SEQ_LEN = 1024
BATCH = 32
STEPS = 2000


def texts() -> Iterator[str]:
    for file in expand_urls(URLS, field="urls"):
        yield Path(file.path).read_text(errors="replace")


def train_tokenizer(path: Path) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=16384,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.save(str(path))


def build(tokenizer: str, cache_dir: Path) -> TokenCache:
    return open_or_build_cache(
        DataSpec(tokenizer=tokenizer, train_urls=URLS),
        "train",
        load_tokenizer(tokenizer),
        str(cache_dir),
        is_builder=True,
        progress=lambda _: None,
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def report(name: str, amount: float, unit: str, rounds: list[tuple[float, float]]) -> None:
    seconds, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
    print(
        json.dumps({"what": name, f"{unit}_per_s": round(amount / seconds), f"{unit}_per_cpu_s": round(amount / cpu)})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer_file = folder / "tokenizer.json"
        train_tokenizer(tokenizer_file)
        corpus = list(texts())
        alone, into_cache = [], []
        for number in range(rounds):
            library = tokenizers.Tokenizer.from_file(str(tokenizer_file))
            alone.append(timed(lambda library=library: library.encode_batch_fast(corpus)))
            into_cache.append(timed(lambda number=number: build(str(tokenizer_file), folder / str(number))))
        cache = build(str(tokenizer_file), folder / "0")
        report("16k BPE, the tokenizers library alone", len(cache), "tokens", alone)
        report("16k BPE, into a cache", len(cache), "tokens", into_cache)
        in_bytes = [timed(lambda number=number: build("bytes", folder / f"bytes-{number}")) for number in range(rounds)]
        report("bytes, into a cache", len(build("bytes", folder / "bytes-0")), "tokens", in_bytes)
        compare_rows(cache, rounds, folder / "flat.bin")


def compare_rows(cache: TokenCache, rounds: int, flat_file: Path) -> None:
    np.concatenate(list(cache.blocks())).astype(np.uint16).tofile(flat_file)
    flat = np.memmap(flat_file, np.uint16, "r")
    loader = Loader(RunSequences({"": sequence_source(cache, SEQ_LEN)}, 0), batch_size=BATCH)
    random = np.random.default_rng(0)

    def ours() -> None:
        for step in range(STEPS):
            loader.batch(step)

    def plain() -> None:
        for _ in range(STEPS):
            starts = random.integers(0, len(flat) - SEQ_LEN - 1, BATCH)
            np.stack([flat[start : start + SEQ_LEN + 1] for start in starts]).astype(np.int32)

    turns = [(timed(plain), timed(ours)) for _ in range(rounds)]
    report("rows of a plain memory map", STEPS * BATCH, "rows", [turn[0] for turn in turns])
    report("rows of the loader", STEPS * BATCH, "rows", [turn[1] for turn in turns])


if __name__ == "__main__":
    main()
