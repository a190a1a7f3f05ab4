"""What goes wrong on the way to the folder of a run's checkpoints, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from lateen_trainer import storage
from lateen_trainer.data import source
from lateen_trainer.errors import UserError

FIELD = "spec.checkpoint.path"


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turns what TensorStore raises, and the OSError that reading makes of it, into an error that names the field.

    Args:
        url: of the folder.

    Raises:
        UserError: access is denied, the disk is full, or the bucket does not exist.
        TrainerError: the object store cannot be reached.
    """
    with storage.explained(url, field=FIELD):
        try:
            yield
        except OSError as error:
            known = storage.explanation(str(error.__cause__), url, field=FIELD)
            if known is None:
                raise
            raise known from error


@contextmanager
def files_explained(url: str) -> Iterator[None]:
    """Turns what fsspec raises about an object store into such an error; that there is no folder stays as it is, and so
    does what this machine's file system raises."""
    if storage.local_path(url) is not None:
        yield
        return
    try:
        with source.explained(FIELD, url):
            yield
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise
