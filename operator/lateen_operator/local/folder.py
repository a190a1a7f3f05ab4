"""The folder of a run: where everything lies, who may write there, and writing that is never half done."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lateen_api import os_errors
from lateen_api.errors import JobError
from lateen_api.escaping import escaped
from lateen_api.files import named, replace_text

LEFTOVER_SECONDS = 5.0
ELSEWHERE = "choose another folder with --run-dir"
RESERVED = 1 << 18
"""Bytes of room for result, ledger and picture of the losses on a disk that the run has filled."""
_RESERVE = ".reserved"


class RunFolder:
    """Paths of a run.

    ```
    job.json        the job as it runs, with every default filled in; only for the user, since the trainer
                    needs URLs with their passwords and signatures
    attempts.json   the ledger of attempts
    logs/           output and termination message of each process of each attempt
    metrics.jsonl   a line a step, by the trainer
    summary.json    losses and a sample of text, by the trainer at the end
    result.json     how it came out
    loss.svg        the losses, to look at
    report.html     the run as one page, by `lateen report`
    cache/          tokenised text
    checkpoints/
    ```
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def loss_chart(self) -> Path:
        return self.path / "loss.svg"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def log(self, attempt: int, process: int) -> Path:
        """What a process wrote to stdout and stderr."""
        return self.logs / f"attempt-{attempt}-process-{process}.log"

    def termination_log(self, attempt: int, process: int) -> Path:
        """The outcome that a process left, as JSON."""
        return self.logs / f"attempt-{attempt}-process-{process}.json"

    def create(self) -> None:
        """Makes the folder.

        Raises:
            JobError: it cannot be made or written to.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = os_errors.cause(error.errno, self.path, elsewhere=ELSEWHERE) or f"{error.strerror}. {ELSEWHERE}."
            raise JobError(str(self.path), f"the run's folder cannot be made: {why}") from error
        for folder in (self.path, self.logs):
            try:
                # Asks the file system too: os.access does not know of a full one, or of what it forbids to root.
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                why = os_errors.cause(error.errno, folder, elsewhere=ELSEWHERE) or f"{error.strerror}. {ELSEWHERE}."
                raise JobError(str(folder), f"the run's folder cannot be written to: {why}") from error

    def check_name(self) -> None:
        """Raises JobError when the path is not UTF-8: checkpoints and tokens cannot be kept in such a folder."""
        if escaped(str(self.path)) != str(self.path):
            raise JobError(
                escaped(str(self.path)),
                f"the name of the run's folder is not UTF-8, and checkpoints cannot be written there: {ELSEWHERE}.",
            )

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Keeps a little room on the disk, so that a run that fills it can still say how it ended: `write` gives it
        up when there is no other.

        Raises:
            OSError: not even that much room is there.
        """
        path = self.path / _RESERVE
        try:
            with named(path), path.open("wb") as file:
                file.write(bytes(RESERVED))
                file.flush()
                os.fsync(file.fileno())
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    @contextmanager
    def lock(self, *, patience: float = LEFTOVER_SECONDS) -> Iterator[int]:
        """Holds the folder for one `lateen run`; yields the lock's file descriptor.

        Trainer processes inherit the descriptor, so the lock is free only when the last of them has left too:
        nobody ever trains beside the leftovers of a supervisor that was killed. Those die with it on Linux,
        so a lock whose holder is dead is waited for, for `patience` seconds.

        Raises:
            JobError: another `lateen run` holds it.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(descriptor, patience)
            with named(self.path / "lock"):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, patience: float) -> None:
        give_up_at = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                if holder.isdigit() and _is_alive(int(holder)):
                    raise JobError(
                        str(self.path),
                        f"another `lateen run` (process {holder}) is training in this folder; wait for it, "
                        f"stop it with `kill {holder}`, or choose another folder with --run-dir",
                    ) from None
                if time.monotonic() > give_up_at:
                    raise JobError(
                        str(self.path),
                        "trainer processes of a `lateen run` that was killed still work in this folder; "
                        f"`fuser {self.path / 'lock'}` names them. End them, or choose another --run-dir",
                    ) from None
                time.sleep(0.05)
            else:
                return


def move_aside(path: Path) -> Path:
    """Renames a folder to the first free of `<name>-old-1`, `-2`, … beside it. Nothing is deleted."""
    number = 1
    while (aside := path.with_name(f"{path.name}-old-{number}")).exists():
        number += 1
    return path.rename(aside)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Writes a file that is either the old one or the new one at any moment, also after a power cut.

    Args:
        path: the file.
        value: what it holds.
        private: nobody but the user may read it.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", private=private)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """As `write_json`. On a full disk the room that `RunFolder.reserve` kept is given up for it."""
    try:
        replace_text(path, text, private=private)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        (path.parent / _RESERVE).unlink(missing_ok=True)
        replace_text(path, text, private=private)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when there is no such file.

    Raises:
        JobError: the file is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise JobError(str(path), f"not JSON ({error}); mend or remove the file") from error
    if not isinstance(value, dict):
        raise JobError(str(path), f"expected a JSON object, found a {type(value).__name__}; mend or remove the file")
    return value


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
