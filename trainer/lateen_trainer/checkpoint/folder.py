"""The folder of a run's checkpoints: one folder a step below it, and what state each is in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import fsspec
from lateen_api.hugging_face.checkpoint import MANIFEST, STEP_FOLDER

from lateen_trainer.checkpoint.access import FIELD, files_explained
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.digest import DamagedError, seal, unseal
from lateen_trainer.errors import CorruptCheckpointError, SupersededError, UserError
from lateen_trainer.storage import join, kvstore_spec, local_path, open_store

DISCARDED = "discarded.json"
"""Says that a folder is no checkpoint and its files may go: retention took it, or its save failed."""

LAST_COMMIT = "last-commit.json"
OWNER = "owner.json"
"""Says which attempt may write here: the one that was started last."""

INITIAL = "initial-model.json"
"""Says what `spec.trainer.initializeFrom` was when the run began."""

SKIPPED = "skipped-batches.json"
"""The ledger of the batches that the run leaves out."""

_SET_ASIDE = re.compile(r"step-(\d{8,})\.(incomplete|corrupt|replaced|abandoned)(-\d+)?")


class State(StrEnum):
    """What a folder of a step is."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """Never committed: the save was cut off, or is still going on."""

    CORRUPT = "corrupt"
    DISCARDED = "discarded"
    """About to be deleted."""

    REPLACED = "replaced"
    """Set aside since the same step was saved again."""

    ABANDONED = "abandoned"
    """Set aside since training went back before it."""


@dataclass(frozen=True)
class Found:
    """A folder of a step."""

    name: str
    step: int
    state: State
    manifest: Manifest | None = None
    """Only if it is complete."""

    damage: str | None = None
    """What is wrong with a corrupt one."""


def step_name(step: int) -> str:
    """Name of the folder of a step."""
    return f"step-{step:08d}"


class CheckpointFolder:
    """Reads and changes the folder of a run's checkpoints.

    Args:
        url: path or `gs://` URL; need not exist yet.

    Raises:
        UserError: the URL is none that can be written to.
    """

    def __init__(self, url: str):
        self.url = url
        self._spec = kvstore_spec(url, field=FIELD)
        self._store = open_store(url, field=FIELD)
        local = local_path(url)
        # fsspec lists folders and moves them, which TensorStore's stores cannot.
        self._files, self._root = fsspec.core.url_to_fs(
            str(local) if local is not None else url, use_listings_cache=False
        )

    def kvstore(self, step: int) -> dict[str, Any]:
        """TensorStore's description of the folder of a step."""
        return self.kvstore_named(step_name(step))

    def kvstore_named(self, name: str) -> dict[str, Any]:
        """TensorStore's description of a folder below this one."""
        return {**self._spec, "path": f"{self._spec['path']}{name}/"}

    def where(self, step: int) -> str:
        """URL of the folder of a step."""
        return join(self.url, step_name(step))

    def read(self, name: str, file: str) -> bytes | None:
        """Content of a file in a folder of a step; None: it does not exist.

        Raises:
            OSError: the store cannot be reached or refuses.
        """
        return self._read(f"{name}/{file}")

    def _read(self, key: str) -> bytes | None:
        try:
            result = self._store.read(key).result()
        except ValueError as error:
            raise OSError(f"cannot read {join(self.url, key)}: {error}") from error
        return bytes(result.value) if result.state == "value" else None

    def write(self, name: str, file: str, data: bytes) -> None:
        """Writes a file at once: a reader sees all of it or none.

        Raises:
            ValueError: TensorStore's error.
        """
        self._store.write(f"{name}/{file}", data).result()

    def delete(self, name: str, file: str) -> None:
        """Deletes a file in a folder of a step, if it is there.

        Raises:
            ValueError: TensorStore's error.
        """
        self._store.write(f"{name}/{file}", None).result()

    def names(self) -> list[str]:
        """The folders below this one, sorted.

        Raises:
            UserError: the folder is a file, or may not be read.
            TrainerError: the object store cannot be reached.
        """
        try:
            with files_explained(self.url):
                entries = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        except (NotADirectoryError, PermissionError) as error:
            raise UserError(
                f"{FIELD} is {self.url!r}: {error}; expected a folder that can be read and written."
            ) from error
        names = [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory"]
        return sorted(names)

    def exists(self) -> bool:
        """Whether there is such a folder, or such a prefix in a bucket."""
        return bool(self._files.exists(self._root))

    def steps(self) -> list[int]:
        """Steps that have a folder, whatever its state (not those set aside), in order."""
        return sorted(int(match[1]) for match in map(STEP_FOLDER.fullmatch, self.names()) if match)

    def look(self, step: int) -> Found:
        """The state of the folder of a step, as far as its manifest tells.

        Raises:
            OSError: the store cannot be reached or refuses.
        """
        name = step_name(step)
        data = self.read(name, MANIFEST)
        if data is None:
            discarded = self.read(name, DISCARDED) is not None
            return Found(name, step, State.DISCARDED if discarded else State.INCOMPLETE)
        try:
            manifest = Manifest.from_bytes(data, MANIFEST)
            if manifest.step != step:
                raise DamagedError(f"{MANIFEST} is of step {manifest.step}")
        except DamagedError as error:
            return Found(name, step, State.CORRUPT, damage=str(error))
        return Found(name, step, State.COMPLETE, manifest)

    def set_aside_ones(self) -> list[Found]:
        """Folders of steps that were set aside, by name."""
        matches = [match for match in map(_SET_ASIDE.fullmatch, self.names()) if match]
        return [Found(match[0], int(match[1]), State(match[2])) for match in matches]

    def last_commit(self) -> int | None:
        """The step that was committed last, as far as is known; None: nothing was, ever.

        It is kept beside the checkpoints, so that a run that lost them is told from one that had none yet.
        """
        data = self._read(LAST_COMMIT)
        if data is None:
            return None
        try:
            return unseal(data, LAST_COMMIT)["step"]
        except DamagedError:
            return 0

    def note_commit(self, step: int) -> None:
        """Remembers what was committed last.

        Raises:
            ValueError: TensorStore's error.
        """
        self._store.write(LAST_COMMIT, seal({"step": step})).result()

    def initial(self, url: str) -> str | None:
        """What `url` named when the run began with it; None: it has not begun with it.

        Raises:
            OSError: the store cannot be reached or refuses.
        """
        data = self._read(INITIAL)
        try:
            body = unseal(data, INITIAL) if data is not None else {}
        except DamagedError:
            return None
        return body["resolved"] if body.get("url") == url else None

    def note_initial(self, url: str, resolved: str) -> None:
        """Remembers what `url` names.

        Raises:
            ValueError: TensorStore's error.
        """
        self._store.write(INITIAL, seal({"url": url, "resolved": resolved})).result()

    def claim(self, token: str, who: str) -> None:
        """From now on only the holder of the token may commit.

        Args:
            who: in words, for those who lose it.

        Raises:
            ValueError: TensorStore's error.
        """
        self._store.write(OWNER, seal({"token": token, "who": who})).result()

    def is_claimed(self) -> bool:
        """Whether an attempt has ever taken the folder over.

        Raises:
            OSError: the store cannot be reached or refuses.
        """
        return self._read(OWNER) is not None

    def check_claim(self, token: str) -> None:
        """Looks whether somebody else has claimed the folder since.

        Raises:
            SupersededError: it is another's.
            OSError: the store cannot be reached or refuses.
        """
        data = self._read(OWNER)
        try:
            owner = unseal(data, OWNER) if data is not None else {}
        except DamagedError:
            # Nobody can be told apart by it; the next attempt writes it again.
            return
        if owner.get("token", token) != token:
            raise SupersededError(
                f"{self.url} was taken over by {owner['who']}: this attempt ends and saves nothing more."
            )

    @property
    def skipped_url(self) -> str:
        """Where the list of batches is that the run leaves out."""
        return join(self.url, SKIPPED)

    def skipped(self) -> tuple[dict[int, str], dict[str, Any]]:
        """Batches that the run leaves out since its loss was not finite on them: why, by number; and the metadata.

        Raises:
            CorruptCheckpointError: the list is damaged. Without it the run would train on other data than before.
            OSError: the store cannot be reached or refuses.
        """
        data = self._read(SKIPPED)
        if data is None:
            return {}, {}
        try:
            body = unseal(data, SKIPPED)
        except DamagedError as error:
            raise CorruptCheckpointError(
                f"{self.skipped_url}: {error}; it lists the batches that the run leaves out. Put it back from a copy, "
                "or delete it: then those that were left out since the last checkpoint are trained on again."
            ) from error
        return {int(batch): reason for batch, reason in body["batches"].items()}, body["metadata"]

    def note_skipped(self, reasons: Mapping[int, str], metadata: Mapping[str, Any]) -> None:
        """Remembers which batches are left out, and why.

        Args:
            metadata: what the numbers of the batches depend on; JSON.

        Raises:
            ValueError: TensorStore's error.
        """
        batches = {str(batch): reason for batch, reason in reasons.items()}
        self._store.write(SKIPPED, seal({"batches": batches, "metadata": dict(metadata)})).result()

    def set_aside(self, step: int, why: State) -> str:
        """Renames the folder of a step so that it is no longer taken for a checkpoint; gives its new name."""
        taken = set(self.names())
        name = f"{step_name(step)}.{why}"
        number = 2
        while name in taken:
            name = f"{step_name(step)}.{why}-{number}"
            number += 1
        with files_explained(self.url):
            self._files.mv(f"{self._root}/{step_name(step)}", f"{self._root}/{name}", recursive=True)
        return name

    def discard(self, step: int, why: str, *, keep_note: bool = False) -> None:
        """Deletes the folder of a step. Cut off anywhere, it leaves a folder that says it is no checkpoint.

        Args:
            step: whose folder.
            why: for people who find the folder half deleted.
            keep_note: leave the note, for processes that wait for this folder's manifest.
        """
        name = step_name(step)
        self.write(name, DISCARDED, why.encode())
        self.delete(name, MANIFEST)
        with files_explained(self.url):
            for path in self._files.ls(f"{self._root}/{name}", detail=False):
                if not path.endswith(f"/{DISCARDED}"):
                    self._files.rm(path, recursive=True)
            if not keep_note:
                self._files.rm(f"{self._root}/{name}", recursive=True)
