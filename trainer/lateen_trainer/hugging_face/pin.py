"""`trainer.initializeFrom` as something that does not move: a commit of the hub, or one step of a run's checkpoints.

A branch of the hub gets new commits, and a run that is going on new checkpoints. Process 0 resolves the name once, and
the run keeps what it found beside its checkpoints (`Checkpoints.pin_initial`), so that all processes and later attempts
read the same weights.
"""

import re
from pathlib import Path

from lateen_api.hugging_face.folder import CONFIG, ModelFolder
from lateen_api.hugging_face.initial_model import FIELD

from lateen_trainer.data.source import explained
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.initial import find_checkpoint

_HUB = "hf://"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolved(url: str) -> str:
    """The URL of what `url` names now. Folders in Hugging Face's format have no versions, and are left as they are.

    Raises:
        UserError: there is no such model.
        TrainerError: the place cannot be reached.
    """
    if url.startswith(_HUB):
        return _commit(url)
    folder = ModelFolder(url, FIELD)
    if folder.read(CONFIG) is not None:
        return url
    checkpoints, manifest = find_checkpoint(folder)
    return checkpoints.where(manifest.step)


def _commit(url: str) -> str:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    repository, _, revision = url.removeprefix(_HUB).strip("/").partition("@")
    if _COMMIT.fullmatch(revision):
        return url
    with explained(FIELD, url):
        try:
            if constants.is_offline_mode():
                commit = Path(snapshot_download(repository, revision=revision or None, local_files_only=True)).name
            else:
                commit = HfApi().model_info(repository, revision=revision or None).sha
        except (LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise UserError(
                f"{FIELD} is {url!r}: {str(error).strip().splitlines()[0]} Expected hf://org/name@revision of a model "
                "that this machine may read (HF_TOKEN). Correct the name."
            ) from error
    return f"{_HUB}{repository}@{commit}"
