"""Which checkpoint to take up: the newest that is whole, and of this model."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import jax

from lateen_trainer.checkpoint.folder import FIELD, CheckpointFolder, Found, State
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.read import read_arrays
from lateen_trainer.checkpoint.state import Leaf
from lateen_trainer.digest import DamagedError
from lateen_trainer.errors import CorruptCheckpointError, LostPeerError, UserError

T = TypeVar("T")
_log = logging.getLogger(__name__)
START_OVER = "`lateen run --fresh`, or on Kubernetes delete the job and apply it with an empty folder"
OPTIMIZER, EMA = "opt_state", "ema"
"""Parts of the training state besides the model, as arrays are named after them."""

OPTIMIZER_TYPE = "optimizer"
"""Key of a checkpoint's metadata: `spec.optimizer.type`."""

_SHOWN = 5
"""Differing parameters that a message names."""


@dataclass(frozen=True)
class Restoring:
    """The search for a checkpoint, in step with the other processes.

    All processes look at the same checkpoints in the same order and go on to the next together: `agree` tells
    each whether it went well for all.
    """

    folder: CheckpointFolder
    leaves: Sequence[Leaf]
    agree: Callable[[bool], bool]
    process_index: int
    read_only: bool = False
    """Pass by what cannot be restored, but leave it where it is: it may be a save of a running job."""

    known_step: int | None = None
    """Step of the last checkpoint that is known, from elsewhere than the folder, to have been committed."""

    def newest(self, steps: Sequence[int]) -> tuple[Manifest, list[jax.Array]] | None:
        """The newest of these checkpoints that can be restored, and its arrays; None: nothing was saved yet.

        Raises:
            CorruptCheckpointError: something was committed, but none can be restored.
            UserError: it is of another model.
            OSError, LostPeerError: this process, or another, cannot read the folder.
        """
        lost: list[str] = []
        torn: list[str] = []
        for step in sorted(steps, reverse=True):
            found, damage = self._look(step)
            if found is not None and found.state is State.DISCARDED:
                continue
            if found is not None and found.manifest is not None:
                check_same_model(self.folder.where(step), self.leaves, found.manifest)
                arrays, damage = self._read(found.manifest)
                if arrays is not None:
                    if not lost and not torn:
                        self._say_if_older(found.manifest.step)
                    return found.manifest, arrays
            if found is not None and found.state is State.INCOMPLETE:
                torn.append(self._set_aside(step, State.INCOMPLETE, damage))
            else:
                lost.append(self._set_aside(step, State.CORRUPT, damage))
        self._check_nothing_lost(lost, torn)
        return None

    def _check_nothing_lost(self, lost: Sequence[str], torn: Sequence[str]) -> None:
        """A run whose only save was cut off may begin again; one that had a checkpoint must not, unasked."""
        aside = self.folder.set_aside_ones()
        earlier = [f"{one.name} was found corrupt before" for one in aside if one.state is State.CORRUPT]
        committed = self.folder.last_commit()
        what = [*torn, *lost] if lost else earlier
        if not what and committed is not None:
            what = [*torn, f"step {committed} was committed, and it or its manifest is gone"]
        if what:
            raise CorruptCheckpointError(
                f"{FIELD} is {self.folder.url!r}: no checkpoint can be restored: {'; '.join(what)}. "
                f"Put the files back from a backup, or start over: {START_OVER}."
            )
        if self.known_step is not None:
            raise _missing(self.folder, self.known_step)

    def _say_if_older(self, step: int) -> None:
        """A checkpoint from before the last one that is known, of which there is no trace: somebody took it away."""
        if self.known_step is not None and step < self.known_step and self.process_index == 0:
            _log.warning(
                "The last checkpoint that is known is of step %d, and the newest that can be restored is of step %d: "
                "the steps after it are trained again.",
                self.known_step,
                step,
            )

    def _look(self, step: int) -> tuple[Found | None, str]:
        """What the folder of a step is, if all processes see the same; or what is wrong with it."""
        found = self._together(lambda: self.folder.look(step))
        corrupt = found.state is State.CORRUPT
        if self.agree(not corrupt):
            return found, found.damage or "it has no manifest, so it was not committed"
        return None, found.damage or "another process cannot read its manifest"

    def _read(self, manifest: Manifest) -> tuple[list[jax.Array] | None, str]:
        """The arrays; or None and what is wrong with them, here or on another process."""

        def read() -> tuple[list[jax.Array] | None, str]:
            try:
                return read_arrays(self.folder.kvstore(manifest.step), manifest, self.leaves), ""
            except DamagedError as error:
                return None, str(error)

        arrays, damage = self._together(read)
        if self.agree(arrays is not None):
            return arrays, ""
        return None, damage or "another process found it damaged"

    def _together(self, action: Callable[[], T]) -> T:
        """Does what needs the store, on all processes or none: what cannot be reached is not damaged."""
        try:
            result, error = action(), None
        except OSError as raised:
            result, error = None, raised
        if self.agree(error is None):
            return cast(T, result)
        raise error or LostPeerError(f"another process cannot read {self.folder.url}; its own message says why.")

    def _set_aside(self, step: int, state: State, damage: str) -> str:
        """Renames a checkpoint that cannot be restored, and says so in one line."""
        told = f"{self.folder.where(step)} is {state}: {damage}"
        if self.process_index != 0:
            return told
        if self.read_only:
            _log.warning("%s; the one before it is tried", told)
        else:
            name = self.folder.set_aside(step, state)
            _log.warning("%s; set aside as %s, the one before it is tried", told, name)
        return told


def another_optimizer(where: str, before: str | None) -> UserError:
    """The optimizer's state is of another algorithm.

    Args:
        where: the checkpoint lies.
        before: the type of the optimizer that it was trained with, if that is known.
    """
    was = f"spec.optimizer.type {before}" if before else "another spec.optimizer.type"
    remedy = f"Set spec.optimizer.type to {before}" if before else "Set spec.optimizer.type as it was"
    return UserError(
        f"{FIELD}: {where} was trained with {was}, whose state is no use to the job's: expected the same. {remedy}, "
        f"or choose another {FIELD}."
    )


def check_known(folder: CheckpointFolder, known_step: int) -> None:
    """Looks whether a folder that is known to have had a checkpoint has any trace of one.

    Raises:
        CorruptCheckpointError: it has none: it is another folder, or was emptied.
        OSError: the folder cannot be read.
    """
    if not folder.steps() and not folder.set_aside_ones():
        raise _missing(folder, known_step)


def _missing(folder: CheckpointFolder, known_step: int) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{FIELD} is {folder.url!r}: there is no checkpoint, but the record of the run's attempts has one of step "
        f"{known_step}: expected that one, or a later one. Put the folder back, correct {FIELD}, "
        f"or start over: {START_OVER}."
    )


def check_same_model(where: str, leaves: Sequence[Leaf], manifest: Manifest) -> None:
    """Compares names, shapes and dtypes of what is expected and what a checkpoint holds.

    Raises:
        UserError: they differ; the message names the first differing parameters, or says that the optimizer is another
            or that averaged weights are kept on one side only.
    """
    expected = {leaf.name: f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves}
    held = {name: f"{entry.layout.dtype}{list(entry.layout.shape)}" for name, entry in manifest.arrays.items()}
    different = [name for name in [*expected, *sorted(held.keys() - expected)] if expected.get(name) != held.get(name)]
    if not different:
        return
    if all(name.startswith(f"{EMA}.") for name in different):
        has = "has no averaged weights, and the job asks for them" if different[0] in expected else (
            "has averaged weights, and the job asks for none"
        )  # fmt: skip
        raise UserError(
            f"{FIELD}: {where} {has} (spec.trainer.ema): expected the same. "
            f"Set spec.trainer.ema as it was, or choose another {FIELD}."
        )
    if all(name.startswith((f"{OPTIMIZER}.", f"{EMA}.")) for name in different):
        raise another_optimizer(where, manifest.metadata.get(OPTIMIZER_TYPE))
    lines = [
        f"  {name}: the job's model has {expected.get(name, 'no such parameter')}, "
        f"the checkpoint {held.get(name, 'no such parameter')}"
        for name in different[:_SHOWN]
    ]
    if len(different) > _SHOWN:
        lines.append(f"  and {len(different) - _SHOWN} more")
    raise UserError(
        f"{FIELD}: {where} is of another model:\n"
        + "\n".join(lines)
        + f"\nChoose another {FIELD}, or the spec.model, spec.optimizer and spec.trainer.lora that it is of."
    )
