"""Writing one checkpoint, in the background, together with the other processes.

Processes agree through files alone. A collective in this thread could meet one of the training step on
another process, and it would hang when a process is gone; a file that does not come is a timeout.
"""

import errno
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lateen_api.hugging_face.checkpoint import MANIFEST
from lateen_api.os_errors import cause

from lateen_trainer import storage
from lateen_trainer.checkpoint import zarr
from lateen_trainer.checkpoint.folder import DISCARDED, FIELD, CheckpointFolder, step_name
from lateen_trainer.checkpoint.manifest import ArrayLayout, Manifest, Part, join_parts, part_name
from lateen_trainer.checkpoint.state import HostArray, layout_of
from lateen_trainer.errors import LostPeerError, SupersededError, TrainerError
from lateen_trainer.storage import StoreTrouble, local_path, os_error_number

_log = logging.getLogger(__name__)

_WRITERS = 8
"""Files in flight. Each is up to `grid.FILE_BYTES` of memory more than the state itself."""

_GRACE = 0.1
"""How much longer than process 0 the others wait, as a part of the time it has."""


class NotSavedError(TrainerError):
    """A checkpoint could not be written. The ones before it are untouched, and training may go on.

    Args:
        trouble: the object store's part in it, if it was that.
    """

    def __init__(self, message: str = "", trouble: StoreTrouble | None = None):
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True)
class Writing:
    """One checkpoint on its way to the folder."""

    folder: CheckpointFolder
    state: Sequence[HostArray]
    manifest: Manifest
    """Without arrays; they come with the processes' parts."""

    process_index: int
    timeout: float
    """Seconds from the start to the commit."""

    claim: str | None = None
    """Token with which process 0 has claimed the folder; None: nobody else would write there."""

    def run(self, *, monotonic: Callable[[], float] = time.monotonic) -> Manifest | None:
        """Writes this process's part; on process 0 also commits, and gives the manifest.

        Raises:
            NotSavedError: the part, or another process's, could not be written.
            LostPeerError: not all processes wrote theirs in time.
            SupersededError: a later attempt writes here now. Nothing of it is touched.
        """
        try:
            return self._run(monotonic)
        except (OSError, ValueError) as error:
            raise self._not_saved(error) from error

    def _run(self, monotonic: Callable[[], float]) -> Manifest | None:
        deadline = monotonic() + self.timeout
        self._check_claim()
        layouts = {array.leaf.name: layout_of(array.leaf) for array in self.state}
        part = self._write_part(layouts)
        if self.process_index != 0:
            self._report(part)
            # Process 0 decides, so it must be the first to lose patience.
            self._wait_for_commit(part, deadline + _GRACE * self.timeout, monotonic)
            return None
        try:
            manifest = self._commit(layouts, part, deadline, monotonic)
        except SupersededError:
            # What lies there may be the other's by now.
            raise
        except TrainerError as error:
            self._give_up(str(error))
            raise
        self._note_commit()
        return manifest

    def _write_part(self, layouts: Mapping[str, ArrayLayout]) -> Part:
        """Writes the files that this process owns. What goes wrong is told to the others in the part."""
        context = zarr.io_context()
        kvstore = self.folder.kvstore(self.manifest.step)

        def write_file(array: HostArray, number: int) -> tuple[str, dict[int, str]]:
            layout = layouts[array.leaf.name]
            store = zarr.open_array(kvstore, array.leaf.name, layout, context)
            chunks = layout.chunks.overlapping(layout.files.box(number))
            values = ((chunk, array.box(layout.chunks.box(chunk))) for chunk in chunks)
            return array.leaf.name, zarr.write_file(store, layout, values)

        digests: dict[str, dict[int, str]] = {}
        try:
            self._check_room()
            files = [
                (array, number)
                for array in self.state
                for number in range(len(layouts[array.leaf.name].files))
                if array.owns(layouts[array.leaf.name].files.box(number))
            ]
            with ThreadPoolExecutor(_WRITERS, thread_name_prefix="checkpoint-file") as pool:
                for name, written in pool.map(write_file, *zip(*files, strict=True)) if files else ():
                    digests.setdefault(name, {}).update(written)
        except (OSError, ValueError, NotSavedError) as error:
            failed = self._not_saved(error)
            return Part(self.process_index, error=str(failed), trouble=failed.trouble)
        return Part(self.process_index, digests)

    def _check_claim(self) -> None:
        if self.process_index == 0 and self.claim is not None:
            self.folder.check_claim(self.claim)

    def _check_room(self) -> None:
        """Refuses at once what cannot fit, rather than fill the disk to the brim."""
        needed, free = self._needed(), self._free()
        if free is not None and needed > free:
            raise NotSavedError("No space left on device")

    def _needed(self) -> int:
        return sum(piece.nbytes for array in self.state for piece in array.pieces.values())

    def _free(self) -> int | None:
        """Bytes free on the folder's disk; None: it is not a disk."""
        path = local_path(self.folder.url)
        while path is not None and not path.exists():
            path = path.parent
        return None if path is None else shutil.disk_usage(path).free

    def _not_saved(self, error: Exception, what: str | None = None) -> NotSavedError:
        """What went wrong, in words that say what to do.

        Args:
            what: has become of the checkpoint; None: this process could not write its part.
        """
        # What a reading function raises has TensorStore's error behind it.
        text = str(error.__cause__ if isinstance(error.__cause__, ValueError) else error)
        where = self.folder.where(self.manifest.step)
        begin = f"{where}: process {self.process_index} could not write its part" if what is None else f"{where} {what}"
        if (trouble := storage.trouble(text, self.folder.url)) is not None:
            return NotSavedError(f"{begin}: {storage.explanation(text, self.folder.url, field=FIELD)}", trouble)
        return NotSavedError(self._explain(error) if what is None else f"{begin}: {error}")

    def _explain(self, error: Exception) -> str:
        where = self.folder.where(self.manifest.step)
        number = error.errno if isinstance(error, OSError) else os_error_number(str(error))
        known = cause(number, local_path(self.folder.url), elsewhere=f"point {FIELD} elsewhere")
        if known is not None and number not in (errno.ENOSPC, errno.EDQUOT):
            return f"{where}: process {self.process_index} could not write its part: {known}"
        if number in (errno.ENOSPC, errno.EDQUOT) or any(
            sign in str(error) for sign in ("No space left", "Disk quota exceeded")
        ):
            free = self._free()
            available = "unknown" if free is None else _megabytes(free)
            return (
                f"{where}: no space left: process {self.process_index} needs {_megabytes(self._needed())}, "
                f"available: {available}. Free some, or point {FIELD} elsewhere."
            )
        return f"{where}: process {self.process_index} could not write its part: {str(error)[:500]}"

    def _report(self, part: Part) -> None:
        try:
            self.folder.write(step_name(self.manifest.step), part_name(self.process_index), part.to_bytes())
        except ValueError as error:
            raise _failure_of(part) or self._not_saved(error) from error

    def _wait_for_commit(self, part: Part, deadline: float, monotonic: Callable[[], float]) -> None:
        """Waits until process 0 has committed or given up."""
        name = step_name(self.manifest.step)

        def settled() -> bool:
            if self.folder.read(name, MANIFEST) is not None:
                return True
            why = self.folder.read(name, DISCARDED)
            if why is not None:
                raise _failure_of(part) or NotSavedError(why.decode())
            return False

        if not _poll(settled, deadline, monotonic):
            where = self.folder.where(self.manifest.step)
            raise LostPeerError(part.error or f"{where}: process 0 did not commit it within {self.timeout:.0f} s.")

    def _commit(
        self, layouts: Mapping[str, ArrayLayout], own: Part, deadline: float, monotonic: Callable[[], float]
    ) -> Manifest:
        name = step_name(self.manifest.step)
        if failed := _failure_of(own):
            raise failed
        parts = [own, *self._collect(deadline, monotonic)]
        for part in parts:
            if failed := _failure_of(part):
                raise failed
        try:
            context, kvstore = zarr.io_context(), self.folder.kvstore(self.manifest.step)
            with ThreadPoolExecutor(_WRITERS, thread_name_prefix="checkpoint-file") as pool:
                written = pool.map(
                    lambda array: zarr.write_description(kvstore, array, layouts[array], context), layouts
                )
                descriptions = dict(zip(layouts, written, strict=True))
            manifest = join_parts(self.manifest, layouts, descriptions, parts)
            self._check_claim()
            self.folder.write(name, MANIFEST, manifest.to_bytes())
        except (OSError, ValueError) as error:
            raise self._not_saved(error) from error
        return manifest

    def _note_commit(self) -> None:
        """What is left to do when the checkpoint counts: it is not given up if this fails."""
        step = self.manifest.step
        try:
            self.folder.note_commit(step)
            for process in range(1, self.manifest.processes):
                self.folder.delete(step_name(step), part_name(process))
        except ValueError as error:
            raise self._not_saved(error, "is saved, but not noted as such") from error

    def _collect(self, deadline: float, monotonic: Callable[[], float]) -> list[Part]:
        """The parts of the other processes, as they come in."""
        name = step_name(self.manifest.step)
        waiting = set(range(1, self.manifest.processes))
        parts: list[Part] = []

        def all_in() -> bool:
            for process in sorted(waiting):
                data = self.folder.read(name, part_name(process))
                if data is not None:
                    parts.append(Part.from_bytes(data, part_name(process)))
                    waiting.discard(process)
            return not waiting

        try:
            if _poll(all_in, deadline, monotonic):
                return parts
        except (OSError, ValueError) as error:
            raise self._not_saved(error) from error
        missing = ", ".join(map(str, sorted(waiting)))
        raise LostPeerError(
            f"{self.folder.where(self.manifest.step)}: not written within {self.timeout:.0f} s by process "
            f"{missing} of {self.manifest.processes}; it is given up, older checkpoints are untouched."
        )

    def _give_up(self, why: str) -> None:
        """Takes the half-written files away, as a full disk would not bear them, and tells the others."""
        try:
            self.folder.discard(self.manifest.step, why, keep_note=self.manifest.processes > 1)
        except (OSError, ValueError, TrainerError) as error:
            # The store is gone or full to the last byte. Without a manifest the folder counts for nothing.
            _log.warning("cannot clear %s: %s", self.folder.where(self.manifest.step), error)


def _failure_of(part: Part) -> NotSavedError | None:
    return None if part.error is None else NotSavedError(part.error, part.trouble)


def _poll(done: Callable[[], bool], deadline: float, monotonic: Callable[[], float]) -> bool:
    """Asks until it is done or the deadline is past, at first often, then every second."""
    pause = 0.01
    while not done():
        if monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    return True


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
