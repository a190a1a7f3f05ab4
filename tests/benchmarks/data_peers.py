"""The peers of bench_data, each in a process of its own in an environment that has them: it imports nothing of lateen.

data_peers.py prepare FOLDER        # what the peers read: rows of the same tokens in their formats
data_peers.py PEER FOLDER JSON      # serves steps (candidate.serve); JSON is bench_data's Work
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from candidate import serve

ROWS_ARROW, ROWS_RECORDS, TOKENS = "rows.arrow", "rows.array_record", "tokens.u16"


def tokenize_by_map(folder: Path, work: dict) -> Callable[[], float]:
    """`datasets.map` with the tokenizers library, documents already in Arrow; gives bytes on disk per token."""
    import datasets
    import tokenizers

    datasets.disable_progress_bars()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    files = sorted(str(path) for path in (folder / "text").iterdir())
    documents = datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(folder / "datasets"))

    def encode(batch: dict) -> dict:
        encodings = tokenizer.encode_batch_fast(batch["text"], add_special_tokens=False)
        return {"input_ids": [encoding.ids for encoding in encodings]}

    def step() -> float:
        out = folder / f"mapped-{work['processes']}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        mapped = documents.map(
            encode,
            batched=True,
            remove_columns=documents.column_names,
            num_proc=None if work["processes"] == 1 else work["processes"],
            load_from_cache_file=False,
            cache_file_name=str(out / "tokens.arrow"),
        )
        tokens = sum(len(chunk.values) for chunk in mapped.data.column("input_ids").chunks)
        return sum(path.stat().st_size for path in out.iterdir()) / tokens

    return step


def read_arrow(folder: Path, work: dict) -> Callable[[], float]:
    """Rows of a memory-mapped Arrow file by `take`."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(folder / ROWS_ARROW))).read_all()
    column, length = table.column("tokens"), work["row"]

    def batch(rows: np.ndarray) -> np.ndarray:
        taken = column.take(pa.array(rows)).combine_chunks()
        return taken.flatten().to_numpy().reshape(-1, length).astype(np.int32)

    return _shuffled(batch, len(table), work)


def read_datasets(folder: Path, work: dict) -> Callable[[], float]:
    """Rows of the same file as a `datasets.Dataset` with NumPy's format."""
    import datasets

    rows = datasets.Dataset.from_file(str(folder / "rows-stream.arrow")).with_format("numpy")
    return _shuffled(lambda numbers: rows[numbers]["tokens"].astype(np.int32), len(rows), work)


def read_grain(folder: Path, work: dict) -> Callable[[], float]:
    """Grain over ArrayRecord, shuffled by Grain, with its threads."""
    import grain

    source = grain.sources.ArrayRecordDataSource(str(folder / ROWS_RECORDS))
    threads = grain.ReadOptions(num_threads=work["threads"], prefetch_buffer_size=64)
    rows = (
        grain.MapDataset.source(source)
        .shuffle(seed=0)
        .repeat()
        .map(lambda record: np.frombuffer(record, np.uint16).astype(np.int32))
        .batch(work["batch"])
    )
    batches = iter(rows.to_iter_dataset(threads))
    return lambda: float(sum(int(next(batches)[0, 0]) for _ in range(work["batches"])))


def _shuffled(batch: Callable[[np.ndarray], np.ndarray], count: int, work: dict) -> Callable[[], float]:
    """Steps over the rows in an order that is drawn beforehand."""
    order, at = np.random.default_rng(0).permutation(count), 0

    def step() -> float:
        nonlocal at
        first = 0
        for _ in range(work["batches"]):
            if at + work["batch"] > count:
                at = 0
            first += int(batch(order[at : at + work["batch"]])[0, 0])
            at += work["batch"]
        return float(first)

    return step


def prepare(folder: Path, length: int) -> None:
    """Writes the tokens' rows as Arrow (file and stream) and as ArrayRecord."""
    import pyarrow as pa
    from array_record.python import array_record_module

    tokens = np.memmap(folder / TOKENS, np.uint16, "r")
    rows = np.lib.stride_tricks.sliding_window_view(tokens, length)[:: length - 1]
    schema = pa.schema([pa.field("tokens", pa.list_(pa.uint16(), length))])
    opened = {"rows.arrow": pa.ipc.new_file, "rows-stream.arrow": pa.ipc.new_stream}
    for name, new in opened.items():
        with pa.OSFile(str(folder / name), "wb") as file, new(file, schema) as writer:
            for begin in range(0, len(rows), 1024):
                values = pa.array(np.ascontiguousarray(rows[begin : begin + 1024]).ravel())
                column = pa.FixedSizeListArray.from_arrays(values, length)
                writer.write_batch(pa.record_batch([column], schema=schema))
    # One row per group, as Grain asks for where records are read at random.
    records = array_record_module.ArrayRecordWriter(str(folder / ROWS_RECORDS), "group_size:1")
    for row in rows:
        records.write(row.tobytes())
    records.close()


PEERS = {"datasets.map": tokenize_by_map, "arrow": read_arrow, "datasets": read_datasets, "grain": read_grain}


def main() -> None:
    """Prepares, or serves one peer."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name == "prepare":
        prepare(folder, int(sys.argv[3]))
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    serve(PEERS[name](folder, json.loads(sys.argv[3])))


if __name__ == "__main__":
    main()
