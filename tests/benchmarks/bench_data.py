"""Tokenizing and shuffled reading beside `datasets.map`, Arrow memory maps and Grain, and the memory of a reader.

    python tests/benchmarks/bench_data.py --peers PYTHON [--rounds 5] [--megabytes 32]

PYTHON is that of an environment with the peers (data-peers.txt; `make bench-data` makes it). Documents of this
machine (text_corpus) are tokenized by a byte-level BPE of 16,384 tokens, with the same version of the tokenizers
library on all sides: by lateen from JSON lines into a cache, by `datasets.map` from Arrow into Arrow. Rows of 1,025 of
these tokens are then read in shuffled batches of 32. Every candidate is a process of its own that makes one step when
told to; they take turns within a round, and ratios are taken round by round. Then caches of 10^6 to 10^9 tokens
(sparse files) are read at random, each by a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from candidate import Candidate
from data_candidates import TOKENS, build
from lateen_trainer.data.tokenizer_training import save_tokenizer, train_bpe
from machine import machine
from text_corpus import documents, write_json_lines

HERE = Path(__file__).parent
END_OF_TEXT = "<|endoftext|>"
SIZES = (10**6, 10**7, 10**8, 10**9)


@dataclass(frozen=True)
class Work:
    """What a step of a candidate is."""

    processes: int = 1
    """That tokenize."""

    threads: int = os.cpu_count() or 1
    """That Grain reads with."""

    row: int = 1025
    """Tokens."""

    batch: int = 32
    """Rows."""

    batches: int = 200


@dataclass(frozen=True)
class Entry:
    """A candidate of a comparison."""

    label: str
    name: str
    """Of `data_candidates.CANDIDATES` or `data_peers.PEERS`."""

    is_peer: bool
    work: Work = Work()

    def start(self, folder: Path, peers: Path) -> Candidate:
        """Its process."""
        script, python = ("data_peers.py", peers) if self.is_peer else ("data_candidates.py", Path(sys.executable))
        command = [str(python), str(HERE / script), self.name, str(folder), json.dumps(asdict(self.work))]
        return Candidate(self.label, command, os.environ, stderr=subprocess.DEVNULL)


def tokenizing() -> list[Entry]:
    """lateen and `datasets.map` by one and by two processes, and the library alone."""
    entries = []
    for count in (1, 2):
        of = f"{count} process{'es' if count > 1 else ''}"
        entries.append(Entry(f"lateen, {of}", "lateen-tokenize", False, Work(processes=count)))
        entries.append(Entry(f"datasets.map, {of}", "datasets.map", True, Work(processes=count)))
    return [*entries, Entry("the tokenizers library alone", "tokenizers", False)]


READING = [
    Entry("lateen", "lateen-read", False),
    Entry("datasets, memory-mapped Arrow", "datasets", True),
    Entry("pyarrow take, memory-mapped", "arrow", True),
    Entry("Grain over ArrayRecord", "grain", True),
    Entry("a plain memory map", "memmap", False),
]


def compare(
    title: str, entries: Sequence[Entry], folder: Path, peers: Path, *, rounds: int, amount: float, unit: str
) -> list[Candidate]:
    """Prints a table of the candidates: amount per second, and lateen's ratio to each round by round.

    Args:
        amount: of `unit` in a step.
    """
    with ExitStack() as stack:
        workers = [entry.start(folder, peers) for entry in entries]
        for worker in workers:
            stack.callback(worker.close)
            worker.step(count=False)
        for number in range(rounds):
            # The order changes, so that no candidate always follows the same one.
            for worker in (workers, workers[::-1])[number % 2]:
                worker.step()
            print(f"{title}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    print(f"\n{title}, median of {rounds} rounds\n{'':36}{unit + '/s':>14}{'lateen / it':>14}{'rounds':>16}")
    for entry, worker in zip(entries, workers, strict=True):
        ours = next(
            other
            for other, its in zip(workers, entries, strict=True)
            if its.name.startswith("lateen") and its.work.processes == entry.work.processes
        )
        ratios = [theirs / own for own, theirs in zip(ours.seconds, worker.seconds, strict=True)]
        print(
            f"{worker.name:36}{amount / statistics.median(worker.seconds):14,.0f}{statistics.median(ratios):14.2f}"
            f"{f'{min(ratios):.2f} to {max(ratios):.2f}':>16}"
        )
    return workers


def prepare(folder: Path, megabytes: int, peers: Path) -> int:
    """Writes what the candidates read; the number of tokens."""
    write_json_lines(folder / "text", megabytes << 20, 8, compressed=False)
    texts = documents(8 << 20, seed=1)
    tokenizer = train_bpe(texts, vocab_size=16384, special_tokens=[END_OF_TEXT])
    save_tokenizer(tokenizer, folder / "tokenizer", end_of_text=END_OF_TEXT)
    cache = build(folder, "cache")
    np.concatenate(list(cache.blocks())).astype(np.uint16).tofile(folder / TOKENS)
    command = [str(peers), str(HERE / "data_peers.py"), "prepare", str(folder), str(Work().row)]
    subprocess.run(command, check=True)
    return len(cache)


def memory(folder: Path) -> None:
    """Prints what a reader of caches of several sizes holds in memory at most."""
    print("\nA reader of a sparse cache, 2,000 batches of 32 rows at random")
    print(f"{'tokens':>16}{'peak MiB':>12}{'by reading':>12}")
    for size in SIZES:
        command = [sys.executable, str(HERE / "sparse_cache.py"), str(folder / f"sparse-{size}"), str(size)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{size:16,}{found['peak'] / 2**20:12.0f}{found['grown'] / 2**20:12.0f}")


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="of an environment with the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=32, help="of text")
    parser.add_argument("--only", choices=["tokenizing", "reading", "memory"], help="one of the three")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only == "memory":
            memory(folder)
            return
        if options.peers is None:
            parser.error("--peers is missing: expected the Python of an environment with the peers (make bench-data)")
        tokens = prepare(folder, options.megabytes, options.peers)
        print(f"{options.megabytes} MiB of text, {tokens:,} tokens")
        if options.only in (None, "tokenizing"):
            workers = compare(
                "Tokenizing", tokenizing(), folder, options.peers, rounds=options.rounds, amount=tokens, unit="tokens"
            )
            for worker in workers[:2]:
                print(f"{worker.name}: {worker.last['loss']:.2f} bytes on disk per token")
        if options.only in (None, "reading"):
            rows = Work().batch * Work().batches
            compare("Reading", READING, folder, options.peers, rounds=options.rounds, amount=rows, unit="rows")
        if options.only is None:
            memory(folder)


if __name__ == "__main__":
    main()
