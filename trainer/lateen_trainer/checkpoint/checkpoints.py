"""The checkpoints of a run: save in the background, restore the newest good one, drop the old ones."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
from lateen_api.spec.checkpoint import KeepRule

from lateen_trainer.checkpoint.access import explained
from lateen_trainer.checkpoint.folder import FIELD, CheckpointFolder, State
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.restore import Restoring, check_known
from lateen_trainer.checkpoint.retention import which_to_delete
from lateen_trainer.checkpoint.save import Writing
from lateen_trainer.checkpoint.state import named_leaves, to_host
from lateen_trainer.errors import TrainerError, UserError
from lateen_trainer.storage import check_reachable

S = TypeVar("S")

_log = logging.getLogger(__name__)


def _alone(_: str) -> None:
    """A barrier among one process."""


def _as_it_is(ok: bool) -> bool:
    """Agreement among one process."""
    return ok


@dataclass(frozen=True)
class SaveFigures:
    """What a committed save cost."""

    step: int
    seconds: float
    """From its snapshot to its commit."""

    nbytes: int
    """Bytes of the whole state, over all processes, before compression."""


class Checkpoints:
    """The checkpoints of a run. Every process has one, and all call the same methods in the same order.

    Args:
        url: folder of the checkpoints: a path or `gs://` URL.
        process_index, process_count: as jax numbers processes.
        barrier: returns when every process has called it with this name.
        agree: gives every process the conjunction of what all processes pass. Like `barrier`, it is called
            from the caller's thread only.
        job, job_digest: whose checkpoints these are, for people who find them.
        keep: which checkpoints stay for good.
        known_step: step of the last checkpoint that earlier attempts are known to have committed; None: of none.
        timeout: seconds from the start of a save to its commit, after which it is given up.
        read_only: for a reader beside the job, an export for instance: nothing is saved, set aside or deleted.
        now: the clock: seconds since the epoch.

    Raises:
        UserError: the URL is none that can be written to.
    """

    def __init__(
        self,
        url: str,
        *,
        process_index: int = 0,
        process_count: int = 1,
        barrier: Callable[[str], None] = _alone,
        agree: Callable[[bool], bool] = _as_it_is,
        job: str = "",
        job_digest: str = "",
        keep: Sequence[KeepRule] = (),
        known_step: int | None = None,
        timeout: float = 600.0,
        read_only: bool = False,
        now: Callable[[], float] = time.time,
    ):
        self.folder = CheckpointFolder(url)
        self._process_index = process_index
        self._process_count = process_count
        self._barrier = barrier
        self._agree = agree
        self._job = job
        self._job_digest = job_digest
        self._keep = tuple(keep)
        self._known_step = known_step
        self._timeout = timeout
        self._read_only = read_only
        self._now = now
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._last_committed: int | None = None
        self._last_save: SaveFigures | None = None
        self._claim: str | None = None
        self._taken: set[int] | None = None
        """Steps that have a folder; all processes know the same ones. None: not looked yet."""

    @property
    def last_committed(self) -> int | None:
        """Step of the last checkpoint that was committed or restored here."""
        return self._last_committed

    @property
    def last_committed_url(self) -> str | None:
        """Where that checkpoint is."""
        return None if self._last_committed is None else self.folder.where(self._last_committed)

    @property
    def last_save(self) -> SaveFigures | None:
        """What the last committed save cost; None: this process has committed none."""
        return self._last_save

    @property
    def saving(self) -> bool:
        """Whether a save is in flight."""
        return self._thread is not None and self._thread.is_alive()

    def check_present(self) -> None:
        """Looks, before anything is written, whether the checkpoints are there that the run is known to have.

        Raises:
            CorruptCheckpointError: there are none.
            UserError, TrainerError: the object store refuses, or cannot be reached.
            OSError: the folder cannot be read.
        """
        if self._process_index == 0 and self._known_step is not None:
            with explained(self.folder.url):
                check_reachable(self.folder.url, field=FIELD)
            check_known(self.folder, self._known_step)

    def claim(self, who: str) -> None:
        """Takes the folder over: an attempt that was started before, and is thought to be gone, commits nothing any
        more.

        Args:
            who: this attempt, in words.

        Raises:
            UserError, TrainerError: the folder cannot be written to.
        """
        if self._process_index == 0:
            self._claim = uuid.uuid4().hex
            with explained(self.folder.url):
                self.folder.claim(self._claim, who)
        self._barrier("checkpoints: claimed")

    def pin_initial(self, url: str, resolve: Callable[[str], str]) -> str:
        """What the run begins with: the same for all processes and attempts, whatever becomes of `url` meanwhile.

        Args:
            url: `spec.trainer.initializeFrom`.
            resolve: what it names now; process 0 of the first attempt calls it.

        Raises:
            UserError, TrainerError: the folder cannot be written to; or what `resolve` raises.
        """
        if self._process_index == 0 and self._initial(url) is None:
            found = resolve(url)
            with explained(self.folder.url):
                self.folder.note_initial(url, found)
        self._barrier("checkpoints: initial model")
        return self._initial(url) or url

    def _initial(self, url: str) -> str | None:
        with explained(self.folder.url):
            return self.folder.initial(url)

    def save(
        self,
        step: int,
        state: Any,
        metadata: Mapping[str, Any],
        *,
        block: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Saves the state after `step` steps. The caller waits until it is in host memory, no longer.

        Waits first for a save that is in flight; should that fail, this one begins all the same, so that no process
        leaves the others alone. The state may be changed, donated or deleted afterwards.

        Args:
            step: steps trained.
            state: a pytree of jax arrays.
            metadata: what else belongs to it; JSON.
            block: wait until it is committed.
            timeout: seconds until the save is given up, if not the usual.

        Raises:
            NotSavedError, LostPeerError: the save before this one failed, or this one (with `block`). Each failure
                is reported once. Older checkpoints are untouched, and training may go on.
            SupersededError: a later attempt has claimed the folder. Training must not go on.
            TypeError, ValueError: the state is not of arrays, or the metadata not JSON.
        """
        if self._read_only:
            raise ValueError(f"{self.folder.url} was opened to be read only")
        self._join()
        error_before, self._error = self._error, None
        metadata = json.loads(json.dumps(dict(metadata), allow_nan=False))
        self._make_way(step)
        leaves, began = named_leaves(state), time.monotonic()
        held = to_host(leaves, self._process_index)
        manifest = Manifest(
            step=step,
            created=self._now(),
            metadata=metadata,
            job=self._job,
            job_digest=self._job_digest,
            processes=self._process_count,
            arrays={},
        )
        patience = self._timeout if timeout is None else timeout
        writing = Writing(self.folder, held, manifest, self._process_index, patience, self._claim)
        self._thread = threading.Thread(
            target=self._write,
            args=(writing, sum(leaf.array.size * leaf.array.dtype.itemsize for leaf in leaves), began),
            name=f"save-{step}",
            daemon=True,
        )
        self._thread.start()
        if block:
            self.wait()
        if error_before is not None:
            raise error_before

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the save in flight is committed; False: it is not within `timeout` seconds.

        Raises:
            NotSavedError, LostPeerError: it failed. Each failure is reported once.
        """
        if not self._join(timeout):
            return False
        self.check()
        return True

    def _join(self, timeout: float | None = None) -> bool:
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def check(self) -> None:
        """Reports a save that has failed, without waiting.

        Raises:
            NotSavedError, LostPeerError: it failed. Each failure is reported once.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Waits for the save in flight. Call it before the process ends, which would cut the save off."""
        self.wait()

    def restore(self, template: S, step: int | None = None) -> tuple[S, dict[str, Any]] | None:
        """The newest checkpoint that is whole, on the devices of the template; None: there is none yet.

        A checkpoint that is torn or damaged is named in the log and set aside, and the one before it taken.

        Args:
            template: a pytree of arrays or ShapeDtypeStructs, whose shardings say where the state goes.
            step: only this checkpoint.

        Returns:
            The state, a tree like the template, and the metadata saved with it.

        Raises:
            CorruptCheckpointError: checkpoints were committed, but none can be restored.
            UserError: it is of another model, or there is none of this step.
            OSError, LostPeerError: this process, or another, cannot read the folder.
        """
        self.wait()
        self._barrier("checkpoints: before restore")
        leaves = named_leaves(template)
        steps = self.folder.steps()
        if step is not None:
            if step not in steps:
                known = ", ".join(map(str, steps)) or "none"
                raise UserError(f"{FIELD} is {self.folder.url!r}: no checkpoint of step {step}; there are: {known}.")
            steps = [step]
        known = self._known() if step is None else None
        restoring = Restoring(self.folder, leaves, self._agree, self._process_index, self._read_only, known)
        with explained(self.folder.url):
            result = restoring.newest(steps)
        self._barrier("checkpoints: after restore")
        self._taken = None
        if not self._read_only:
            self._look()
        if result is None and step is not None:
            raise UserError(f"{FIELD} is {self.folder.url!r}: the checkpoint of step {step} was never committed.")
        if result is None:
            return None
        manifest, arrays = result
        self._last_committed = manifest.step
        return jax.tree.unflatten(jax.tree.structure(template), arrays), dict(manifest.metadata)

    def _known(self) -> int | None:
        """Step of the last checkpoint that is known to have been committed, by this attempt or an earlier one."""
        return max(filter(None, (self._known_step, self._last_committed)), default=self._known_step)

    def note_skipped(self, reasons: Mapping[int, str], metadata: Mapping[str, Any]) -> None:
        """Remembers the batches that the run leaves out, for later attempts. When it returns, they stand in
        the folder.

        Args:
            reasons: by number of the batch, why.
            metadata: what the numbers depend on; JSON.
        """
        if self._process_index == 0:
            with explained(self.folder.url):
                self.folder.note_skipped(reasons, metadata)
        self._barrier("checkpoints: skipped batches noted")

    def rewind(self, step: int) -> None:
        """Makes the checkpoint of `step` the newest: sets later ones aside. Training takes another course."""
        self.wait()
        self._barrier("checkpoints: before rewind")
        if self._process_index == 0:
            for later in self.folder.steps():
                if later > step:
                    self.folder.set_aside(later, State.ABANDONED)
            with explained(self.folder.url):
                self.folder.note_commit(step)
        self._barrier("checkpoints: after rewind")
        self._taken = None

    def _look(self) -> set[int]:
        """The steps that have a folder. All processes look at the same time, when none of them saves."""
        if self._taken is None:
            self._barrier("checkpoints: before the first save")
            self._taken = set(self.folder.steps())
            self._barrier("checkpoints: folder read")
        return self._taken

    def _make_way(self, step: int) -> None:
        """Sees to it that no file of another save is in the step's folder."""
        taken = self._look()
        if step in taken:
            self._barrier("checkpoints: before replacing")
            if self._process_index == 0 and step in self.folder.steps():
                with explained(self.folder.url):
                    if self._claim is not None:
                        self.folder.check_claim(self._claim)
                self.folder.set_aside(step, State.REPLACED)
            self._barrier("checkpoints: replaced")
        taken.add(step)

    def _write(self, writing: Writing, nbytes: int, began: float) -> None:
        """What the background thread does. Its errors wait for the caller's next call."""
        step = writing.manifest.step
        try:
            writing.run()
            self._last_save = SaveFigures(step, time.monotonic() - began, nbytes)
            self._last_committed = step
            if self._process_index == 0:
                self._delete_old(step)
        except Exception as error:
            self._error = error

    def _delete_old(self, newest: int) -> None:
        """Deletes what no rule keeps, and what an earlier deletion left. The next save tries again what fails."""
        try:
            steps = [step for step in self.folder.steps() if step <= newest]
            for step in which_to_delete(steps, self._keep):
                if self.folder.look(step).state in (State.COMPLETE, State.DISCARDED):
                    self.folder.discard(step, f"not needed since step {newest} was committed")
        except (OSError, ValueError, TrainerError) as error:
            _log.warning("%s is committed, but an older one cannot be deleted: %s", self.folder.where(newest), error)
