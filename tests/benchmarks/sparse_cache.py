"""A cache of any number of tokens that needs little disk, and the memory of a process that reads it at random.

    sparse_cache.py FOLDER TOKENS      # writes the cache in FOLDER, reads it, prints JSON: bytes

Each shard is a sparse file with the index and the checksums that the format has: its tokens are holes, which read as
zeros. Readers map and check it like any other.
"""

import json
import os
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import tensorstore as ts
from lateen_trainer import storage
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.layout import CRC_BYTES, TOKENS, Layout, folder
from lateen_trainer.data.ledger import HEADER, LEDGER, Header, Ledger, Record
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import sequence_source

DTYPE = np.dtype("<u2")
TOKENS_OF_PART = 1 << 23
"""What some MiB of compressed text make."""


def write_sparse_cache(url: Path, tokens: int, layout: Layout = Layout()) -> None:  # noqa: B008  # frozen
    """Writes the cache of `tokens` tokens, all of them 0."""
    sizes = [min(TOKENS_OF_PART, tokens - first) for first in range(0, tokens, TOKENS_OF_PART)]
    for number, size in enumerate(sizes):
        path = url / folder(number) / TOKENS / "c"
        path.mkdir(parents=True)
        for shard in range(-(-size // layout.shard)):
            _write_shard(path / str(shard), min(layout.shard, size - shard * layout.shard), layout)
    header = Header("sparse", "train", {}, [], list(range(len(sizes))), DTYPE.name, layout)
    records = [Record(tokens=size, documents=1, digest="", digests={}) for size in sizes]
    (url / HEADER).write_bytes(header.to_json())
    (url / LEDGER).write_bytes(Ledger.of(header, records).to_json())


def _write_shard(path: Path, tokens: int, layout: Layout) -> None:
    chunks, size = -(-tokens // layout.chunk), layout.chunk * DTYPE.itemsize
    crc = google_crc32c.value(bytes(size)).to_bytes(CRC_BYTES, "little")
    index = np.full((layout.chunks_per_shard, 2), np.iinfo(np.uint64).max, "<u8")
    index[:chunks, 0] = np.arange(chunks) * (size + CRC_BYTES)
    index[:chunks, 1] = size + CRC_BYTES
    entries = index.tobytes()
    with path.open("wb") as file:
        for chunk in range(chunks):
            file.seek(chunk * (size + CRC_BYTES) + size)
            file.write(crc)
        file.write(entries + google_crc32c.value(entries).to_bytes(CRC_BYTES, "little"))


def open_cache(url: Path) -> TokenCache:
    """The cache that `write_sparse_cache` wrote."""
    context = ts.Context()
    store = ts.KvStore.open(storage.kvstore_spec(str(url), field="cache"), context=context).result()
    header = Header.from_json((url / HEADER).read_bytes(), HEADER)
    return TokenCache(
        str(url), store, context, fingerprint="sparse", split="train", order=range(len(header.cuts)),
        layout=header.layout, dtype=DTYPE,
    )  # fmt: skip


def memory(key: str) -> int:
    """Bytes of this process by /proc/self/status: `VmHWM` (the peak), `VmRSS`, `RssAnon`, `RssFile`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


def main() -> None:
    """Writes by a child, so that this process only reads."""
    url, tokens = Path(sys.argv[1]), int(sys.argv[2])
    if (child := os.fork()) == 0:
        write_sparse_cache(url, tokens)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    before = memory("VmRSS")
    loader = Loader(RunSequences({"": sequence_source(open_cache(url), 1024)}, 0), batch_size=32)
    for step in range(int(sys.argv[3]) if len(sys.argv) > 3 else 2000):
        assert not loader.batch(step).tokens.any()
    print(json.dumps({"peak": memory("VmHWM"), "grown": memory("VmHWM") - before, "anonymous": memory("RssAnon")}))


if __name__ == "__main__":
    main()
