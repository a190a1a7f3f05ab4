"""A process of its own that looks at the sources of a job for `lateen plan`: their files, and what their caches hold.

It reads no text and writes nothing. A storage that does not answer may hold it up for minutes: its parent waits as long
as it likes, and has what was found until then.

Standard input: JSON, `{"job": …, "runDir": …}`. Standard output: lines of JSON about one source each, which are fields
of a `PlannedSource`, or `{"name": …, "error": …}`.
"""

import json
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lateen_api.errors import JobError
from lateen_api.files import resolve_folder
from lateen_api.spec import JobSpec, LMTrainingJob

from lateen_trainer import storage
from lateen_trainer.data.job_data import JobSource, cache_dir_of, job_sources, sequences_of_run
from lateen_trainer.data.prepare import find_cache, find_files
from lateen_trainer.data.sequence_sources import sequence_source
from lateen_trainer.data.tokenizer import Tokenizer, load_tokenizer
from lateen_trainer.errors import TrainerError, of_the_system

_AT_ONCE = 16
"""Sources that are looked at side by side: one that does not answer is not to hide the others."""

_LATER = "known after the cache is built"


def main() -> None:
    """Exits with 0, whatever was found."""
    request = json.load(sys.stdin)
    spec = LMTrainingJob.model_validate(request["job"]).spec
    for name, sequences in sequences_of_run(spec).items():
        _say(name=name, sequences=sequences)
    cache_dir = _cache_dir(spec, Path(request["runDir"]))

    def look(source: JobSource) -> None:
        try:
            _look(spec, source, tokenizer, cache_dir)
        except (TrainerError, JobError) as error:
            _say(name=source.name, error=str(error))
        except OSError as error:
            _say(name=source.name, error=str(of_the_system(error)))

    pool = ThreadPoolExecutor(_AT_ONCE)
    tokenizer = pool.submit(load_tokenizer, spec.data.tokenizer)
    list(pool.map(look, job_sources(spec.data, "train")))
    # The hub may not have answered for the tokenizer, where no source needs it any more.
    os._exit(0)


def _look(spec: JobSpec, source: JobSource, tokenizer: Future[Tokenizer], cache_dir: str) -> None:
    _, files = find_files(source.data, source.split, source.where)
    _say(name=source.name, files=len(files), bytes=sum(file.size for file in files))
    local = storage.local_path(cache_dir)
    if local is not None and not local.exists():  # known without the tokenizer, which the hub may have
        _say(name=source.name, unknown=_LATER)
        return
    seed = source.stream_seed(spec.trainer.seed)
    found = find_cache(
        source.data, source.split, tokenizer.result(), cache_dir, where=source.where, seed=seed, files=files
    )
    if found.cache.is_whole:
        sequences = sequence_source(found.cache, spec.model.seq_len, spec.data.packing).ready
        _say(name=source.name, available=sequences)
        return
    done = len(found.cache.parts)
    so_far = f", {done:,} of its {len(found.parts):,} parts are there" if done else ""
    _say(name=source.name, unknown=f"{_LATER}{so_far}")


def _cache_dir(spec: JobSpec, run_dir: Path) -> str:
    """Where `lateen run` keeps the caches. Without any there, of a job that names no place: where the operator does."""
    place, checkpoints = cache_dir_of(spec.data, run_dir), spec.checkpoint.path
    if spec.data.cache_dir is None and checkpoints is not None and not Path(place).exists():
        return storage.join(resolve_folder(checkpoints, run_dir), "cache")
    return place


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")  # in one piece, since several threads write
    sys.stdout.flush()


if __name__ == "__main__":
    main()
