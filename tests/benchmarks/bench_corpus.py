"""A corpus of 1 GB in 200 compressed files: the time to the first step with a window, and the same losses and digests
however the cache was built.

    python tests/benchmarks/bench_corpus.py [--folder DIR] [--megabytes 1000] [--tokenizer bpe|bytes] [--kills 20]

The model of docs/examples/nano.yaml trains by `lateen run` while the corpus is being tokenized. Caches are then built
by 1, 2 and 4 processes of `lateen data build` side by side, the last time by 2 that are killed by SIGKILL 20 times on
the way. The same job trains on each of these. Losses must be equal in every bit, and so must the caches' digests.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from lateen_trainer.data.ledger import HEADER, LEDGER, Header, Ledger
from lateen_trainer.data.tokenizer_training import save_tokenizer, train_bpe
from machine import machine
from text_corpus import documents, write_json_lines

NANO = Path(__file__).parents[2] / "docs" / "examples" / "nano.yaml"
END_OF_TEXT = "<|endoftext|>"
FILES = 200
WINDOW = 2048
"""Sequences that are shuffled together."""

_POLL_SECONDS = 0.05
_KILL_AFTER = {"bytes": (0.7, 2.3), "bpe": (4.0, 16.0)}
"""Seconds between two kills: an import takes some two, a part in bytes one and by BPE ten; two builders take turns."""


def job_of(folder: Path, tokenizer: str, steps: int) -> dict[str, Any]:
    """The job: nano on the corpus, with a window."""
    job = yaml.safe_load(NANO.read_text())
    job["metadata"]["name"] = "corpus"
    job["spec"]["data"] = {
        "tokenizer": tokenizer,
        "trainUrls": [f"{folder}/corpus/*.jsonl.*"],
        "shuffle": {"window": WINDOW},
    }
    trainer = job["spec"]["trainer"]
    job["spec"]["trainer"] = {"numTrainSteps": steps, "trainBatchSize": trainer["trainBatchSize"]}
    return job


def write_job(folder: Path, job: dict[str, Any], name: str) -> Path:
    """The job with a cache folder of its own, `cache-NAME`."""
    data = {**job["spec"]["data"], "cacheDir": str(folder / f"cache-{name}")}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**job, "spec": {**job["spec"], "data": data}}))
    return path


def lateen(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A `lateen` command, whose output goes to NAME.log."""
    with (folder / f"{name}.log").open("ab") as log:
        command = [sys.executable, "-m", "lateen_api.cli", *arguments]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def parts_of(folder: Path, name: str) -> tuple[int, int]:
    """Parts of a cache that are whole, and all."""
    caches = list((folder / f"cache-{name}").glob("train-*"))
    if not caches or not (caches[0] / HEADER).exists():
        return 0, 0
    whole = len(list((caches[0] / "parts").glob("*.json")))
    header = Header.from_json((caches[0] / HEADER).read_bytes(), HEADER)
    return whole, len(header.cuts)


def digest_of(folder: Path, name: str) -> str:
    """Digest of all tokens of a finished cache."""
    (path,) = (folder / f"cache-{name}").glob(f"train-*/{LEDGER}")
    return Ledger.from_json(path.read_bytes(), LEDGER).digest


def losses_of(folder: Path, name: str) -> list[float]:
    """The run's losses, step by step."""
    metrics = folder / f"run-{name}" / "metrics.jsonl"
    if not metrics.exists():
        return []
    complete = [line for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line["loss"] for line in map(json.loads, complete) if "loss" in line]


def train(folder: Path, job: dict[str, Any], name: str) -> list[float]:
    """Runs the job; prints when its first step was there and how far the cache was then and at the end."""
    path = write_job(folder, job, name)
    began = time.monotonic()
    process = lateen(folder, name, "run", str(path), "--run-dir", str(folder / f"run-{name}"), "--plain")
    while not losses_of(folder, name) and process.poll() is None:
        time.sleep(_POLL_SECONDS)
    first, parts = time.monotonic() - began, parts_of(folder, name)
    if process.wait() != 0:
        raise SystemExit(f"{name}: `lateen run` ended with code {process.returncode}: {folder / name}.log")
    seconds, end = time.monotonic() - began, parts_of(folder, name)
    say(
        f"{name}: first step after {first:.1f} s with {parts[0]} of {parts[1]} parts, "
        f"{len(losses_of(folder, name))} steps after {seconds:.0f} s with {end[0]}"
    )
    return losses_of(folder, name)


def build(folder: Path, job: dict[str, Any], name: str, hosts: int, kills: int, between: tuple[float, float]) -> None:
    """Builds the cache by processes side by side, of which one after another is killed until `kills` were."""
    path, began, draw, killed = write_job(folder, job, name), time.monotonic(), random.Random(0), 0
    builders = [lateen(folder, name, "data", "build", str(path)) for _ in range(hosts)]
    for victim in itertools.cycle(range(hosts)):
        if killed == kills:
            break
        time.sleep(draw.uniform(*between))
        if builders[victim].poll() is not None:
            break
        builders[victim].kill()
        builders[victim].wait()
        killed += 1
        builders[victim] = lateen(folder, name, "data", "build", str(path))
    codes = [builder.wait() for builder in builders]
    if any(codes):
        raise SystemExit(f"{name}: `lateen data build` ended with codes {codes}: {folder / name}.log")
    say(f"{name}: built by {hosts}, {killed} killed, in {time.monotonic() - began:.0f} s: {digest_of(folder, name)}")


def say(line: str) -> None:
    """A line that is seen at once."""
    print(line, flush=True)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """All of the measurement."""
    if not (folder / "corpus").exists():
        write_json_lines(folder / "corpus", options.megabytes * 10**6, FILES, compressed=True)
    files = list((folder / "corpus").iterdir())
    stored = sum(file.stat().st_size for file in files)
    say(f"{len(files)} files, {stored / 1e6:.0f} MB compressed, tokenizer: {options.tokenizer}")
    tokenizer = "bytes"
    if options.tokenizer == "bpe":
        tokenizer = str(folder / "tokenizer")
        if not Path(tokenizer).exists():
            trained = train_bpe(documents(8 << 20, seed=1), vocab_size=16384, special_tokens=[END_OF_TEXT])
            save_tokenizer(trained, Path(tokenizer), end_of_text=END_OF_TEXT)
    job = job_of(folder, tokenizer, options.steps)
    streamed = train(folder, job, "streamed")
    shutil.rmtree(folder / "cache-streamed")
    digests = set()
    undisturbed = [(int(hosts), 0) for hosts in options.hosts.split(",") if hosts]
    for hosts, kills in [*undisturbed, *([(2, options.kills)] if options.kills else [])]:
        name = f"{hosts}-hosts" + (f"-{kills}-kills" if kills else "")
        build(folder, job, name, hosts, kills, _KILL_AFTER[options.tokenizer])
        losses = train(folder, job, name)
        digests.add(digest_of(folder, name))
        say(f"{name}: losses {'equal' if losses == streamed else 'DIFFER'} in all {len(losses)} steps")
        shutil.rmtree(folder / f"cache-{name}")
    if digests:
        say(f"digests: {'equal' if len(digests) == 1 else 'DIFFER'}")


def main() -> None:
    """Runs the measurement in a folder of its own, or in one that may hold the corpus already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one); a corpus in it is kept")
    parser.add_argument("--megabytes", type=int, default=1000, help="of text")
    parser.add_argument("--tokenizer", choices=["bpe", "bytes"], default="bpe")
    parser.add_argument("--hosts", default="1,2,4", help="builders, by comma")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    print(machine())
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        measure(folder, options)


if __name__ == "__main__":
    main()
