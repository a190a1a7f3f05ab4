"""Data sets of the Hugging Face hub: resolved to the files of one commit, which are then read like any others.

`huggingface_hub` asks the hub, so that HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean there.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lateen_trainer.data.hub_layout import CONVERTED, LayoutError, card_configs, choose_files, has_script, is_delimited
from lateen_trainer.data.source import SourceFile
from lateen_trainer.errors import TrainerError, UserError

_PINNED = re.compile(r"hf://.+@[0-9a-f]{40}/")
_CLIENTS = ("httpx", "httpcore", "requests")
"""How the modules begin whose errors say that there is no answer; newer versions have names such as httpx2."""
_COMMIT = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Repository:
    """A data set's files at one commit."""

    name: str
    commit: str
    files: dict[str, SourceFile]
    """By path in the repository."""


def resolve(
    dataset: str, *, name: str | None, split: str, revision: str | None, where: str = "spec.data"
) -> list[SourceFile]:
    """The files of a data set's split, by path.

    A file's stamp is the digest of its content that the hub keeps: a commit that leaves it alone leaves its tokens
    alone. Its URL names the commit.

    Args:
        dataset: `org/name`.
        name: configuration; None: the only one, or the default.
        split: such as `train`.
        revision: branch, tag or commit; None: `main`.
        where: the job's field that has the source, for messages.

    Raises:
        UserError: there is no such data set, configuration or split, or no access to it.
        TrainerError: the hub cannot be reached.
    """
    with _explained(dataset, revision, where):
        repository = _find(dataset, revision, where)
        paths, configs, is_converted = list(repository.files), [], revision == CONVERTED
        try:
            if not is_converted:
                configs = card_configs(_card(repository))
                if not configs and has_script(paths, repository.name):
                    why = "whose files are made by a script, which is never run here"
                    repository, is_converted = _converted(repository, why, where), True
                    paths = list(repository.files)
            chosen = choose_files(paths, configs, name, split, converted=is_converted, where=where)
            if any(is_delimited(path) for path in chosen):
                repository = _converted(repository, "whose files are CSV, which is not read", where)
                chosen = choose_files(list(repository.files), [], name, split, converted=True, where=where)
        except LayoutError as error:
            raise UserError(
                f"{where}.id is {dataset!r}, which {error} (looked at commit {repository.commit[:12]}). Correct the "
                f"field, or name its files in {where}.trainUrls (hf://datasets/…)."
            ) from error
    log.info("Data set %s, split %s: %d files of commit %s", dataset, split, len(chosen), repository.commit)
    return [repository.files[path] for path in chosen if _is_there(repository.files[path], dataset, where)]


def is_pinned(file: SourceFile) -> bool:
    """Whether the file is of one commit, so that it cannot change."""
    return _PINNED.match(file.url) is not None


def _is_there(file: SourceFile, dataset: str, where: str) -> bool:
    if "://" not in file.path and not Path(file.path).is_file():
        raise UserError(
            f"{where}.id is {dataset!r}, whose file {file.url} is not in the hub's cache on this machine, and "
            "HF_HUB_OFFLINE is set: expected all files of the split there. Download the data set first, or unset it."
        )
    return True


def _find(dataset: str, revision: str | None, where: str) -> _Repository:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.hf_api import RepoFile

    if constants.is_offline_mode():
        return _find_cached(dataset, revision, where)
    api = HfApi()
    info = api.dataset_info(dataset, revision=revision)
    entries = api.list_repo_tree(info.id, recursive=True, revision=info.sha, repo_type="dataset")
    files = {
        entry.path: (entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
        for entry in entries
        if isinstance(entry, RepoFile)
    }
    root = _root(info.id, str(info.sha))
    return _Repository(
        info.id,
        str(info.sha),
        {path: SourceFile(root + path, root + path, size, stamp) for path, (size, stamp) in sorted(files.items())},
    )


def _root(name: str, commit: str) -> str:
    return f"hf://datasets/{name}@{commit}/"


def _find_cached(dataset: str, revision: str | None, where: str) -> _Repository:
    """The data set in the hub's cache on this machine, whose links lead to files that are called by their digests."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=dataset, repo_type="dataset"))
    revision = revision or constants.DEFAULT_REVISION
    reference = folder / "refs" / revision
    commit = revision if _COMMIT.fullmatch(revision) else reference.read_text().strip() if reference.is_file() else ""
    snapshot = folder / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        raise UserError(
            f"{where}.id is {dataset!r}: revision {revision!r} is not in the hub's cache on this machine, and "
            "HF_HUB_OFFLINE is set. Download the data set first, or unset it."
        )
    root, files = _root(dataset, commit), {}
    for path in sorted(snapshot.rglob("*")):
        if path.is_file():
            name = path.relative_to(snapshot).as_posix()
            files[name] = SourceFile(root + name, str(path), path.stat().st_size, path.resolve().name)
    for name, size, stamp in _cached_tree(dataset, commit, where):
        files.setdefault(name, SourceFile(root + name, str(snapshot / name), size, stamp))
    return _Repository(dataset, commit, dict(sorted(files.items())))


def _cached_tree(dataset: str, commit: str, where: str) -> Iterator[tuple[str, int, str]]:
    """Path, size and digest of all files of the commit, where the cache lists them: some may not be in it."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        entries = get_cached_repo_tree(dataset, repo_type="dataset", revision=commit)
    except CachedRepoTreeNotFoundError:
        log.warning(
            "%s.id: the cache has no list of the files of %s at %s: whether it has all of them is not known",
            where, dataset, commit[:12],
        )  # fmt: skip
        return
    for entry in entries:
        yield entry.path, entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id


def _card(repository: _Repository) -> str:
    from huggingface_hub import hf_hub_download

    if "README.md" not in repository.files:
        return ""
    path = hf_hub_download(repository.name, "README.md", repo_type="dataset", revision=repository.commit)
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _converted(repository: _Repository, why: str, where: str) -> _Repository:
    """The hub's own conversion to Parquet.

    Args:
        why: it is needed, for the message where there is none.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return _find(repository.name, CONVERTED, where)
    except (RevisionNotFoundError, UserError) as error:
        raise UserError(
            f"{where}.id is {repository.name!r}, {why}, and the hub has no conversion of them to Parquet (branch "
            f"{CONVERTED}): expected files of data. Convert the data set, and name the files in {where}.trainUrls."
        ) from error


@contextmanager
def _explained(dataset: str, revision: str | None, where: str) -> Iterator[None]:
    """Turns what the hub's library raises into an error that says what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    subject = f"{where}.id is {dataset!r}"
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{subject}: access to it must be granted on the Hugging Face hub first. Accept its terms there and set "
            "HF_TOKEN (spec.compute.secrets)."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{subject}: there is no such data set on the Hugging Face hub, or it is private: expected org/name. "
            "Correct it, or set HF_TOKEN (spec.compute.secrets)."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"{where}.revision is {revision!r}, which the data set {dataset!r} does not have: expected a branch, tag "
            "or commit. Correct it, or leave it out for main."
        ) from error
    except HFValidationError as error:
        raise UserError(f"{subject}, which is no name on the Hugging Face hub: {error} Expected org/name.") from error
    except TrainerError:
        raise
    except HfHubHTTPError as error:
        raise TrainerError(f"{subject}: the Hugging Face hub ({constants.ENDPOINT}) answers {_line(error)}.") from error
    except Exception as error:  # of whatever client the library uses
        module = type(error).__module__
        if not module.startswith(_CLIENTS) and not (isinstance(error, OSError) and module in ("builtins", "socket")):
            raise
        raise TrainerError(
            f"{subject}: the Hugging Face hub ({constants.ENDPOINT}) cannot be reached: {_line(error)}. Check this "
            "machine's network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to read the hub's cache."
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
