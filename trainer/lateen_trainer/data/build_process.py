"""A process of its own that completes the caches of a run while its parent trains on the beginning of them.

It has the lowest priority, so that the training step is not slowed, and ends with its parent: whatever becomes of that,
the pipe between them is closed.

Standard input: one line of JSON (`BackgroundBuilder` writes it), and then nothing until it ends. Standard output: lines
of JSON, `{"source": …, "progress": …}` or, at the end, `{"error": …, "code": …}`.
"""

import json
import logging
import os
import sys
import threading
import time

from lateen_api.errors import JobError
from lateen_api.spec import JobSpec

from lateen_trainer import storage
from lateen_trainer.data.build_as_needed import build_as_needed, find_opened
from lateen_trainer.data.build_progress import BuildProgress
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.data.writer import FIELD
from lateen_trainer.errors import TrainerError, of_the_system

_NICE = 19
_SECONDS_TO_LEAVE = 5.0
_SECONDS_BETWEEN_REPORTS = 0.25


class _Orphaned(Exception):
    """The parent needs no more, or is gone."""


def main() -> None:
    """Builds; exit code 0, or that of the error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(_NICE)
    arguments = json.loads(sys.stdin.readline())
    orphaned = threading.Event()
    threading.Thread(target=_watch, args=(orphaned,), daemon=True).start()

    reported = 0.0

    def progress(source: str, now: BuildProgress) -> None:
        nonlocal reported
        if orphaned.is_set():
            raise _Orphaned
        # It is called for each document.
        if time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            _say(source=source, progress=str(now))

    try:
        spec = JobSpec.model_validate(arguments["spec"])
        storage.check_writable(arguments["cache_dir"], field=FIELD)
        found = find_opened(
            spec,
            load_tokenizer(arguments["tokenizer"]),
            arguments["cache_dir"],
            fingerprints=arguments["fingerprints"],
            layout=Layout(**arguments["layout"]),
        )
        build_as_needed(spec, found, progress=progress)
    except _Orphaned:
        return
    except (TrainerError, JobError) as error:
        _fail(error)
    except OSError as error:
        _fail(of_the_system(error))


def _watch(orphaned: threading.Event) -> None:
    """Notices the end of the parent."""
    while sys.stdin.read(1):
        pass
    orphaned.set()
    threading.Event().wait(_SECONDS_TO_LEAVE)
    os._exit(0)


def _fail(error: TrainerError | JobError) -> None:
    _say(error=str(error), code=int(error.exit_code))
    sys.exit(int(error.exit_code))


def _say(**fields: object) -> None:
    try:
        print(json.dumps(fields), flush=True)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
