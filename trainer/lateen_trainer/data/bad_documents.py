"""Documents that cannot be read, in files that can: `data.onBadDocument` stops at the first, or leaves them out.

Those that are left out are counted for each file, in the ledger of the cache, so that any run that reads the cache
can say what it was made without.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from lateen_api.masking import masked

from lateen_trainer.errors import DataError

Item = TypeVar("Item")
Document = TypeVar("Document")

_PLACES = 10
"""Places that are listed for each file; all are counted."""


class BadDocumentError(DataError):
    """A document cannot be read, while the file goes on behind it.

    Args:
        place: where it is in the file, as `line 7`.
    """

    def __init__(self, message: str, place: str):
        super().__init__(message)
        self.place = place


OnBadDocument = Callable[[BadDocumentError], None]
"""Called with what is wrong with a document. It raises, or returns to go on behind the document."""


def stop(error: BadDocumentError) -> None:
    """Ends the build at the first bad document."""
    raise error


def good_documents(
    items: Iterable[tuple[int, Item]], read: Callable[[int, Item], Document], on_bad: OnBadDocument
) -> Iterator[Document]:
    """What is read of each item of a file (and its number); those that raise a BadDocumentError go to `on_bad`."""
    for number, item in items:
        try:
            document = read(number, item)
        except BadDocumentError as error:
            on_bad(error)
            continue
        yield document


class SkippedDocuments:
    """Documents that are left out, by source file.

    Args:
        files: what `to_json` gave, of the files that were read before.
    """

    def __init__(self, files: Iterable[Mapping[str, Any]] = ()):
        self._files: dict[int, dict[str, Any]] = {file["source"]: dict(file) for file in files}

    @property
    def count(self) -> int:
        """Documents that are left out so far."""
        return sum(file["documents"] for file in self._files.values())

    def collect(self, source: int, url: str) -> OnBadDocument:
        """What takes the bad documents of a file that is read from its beginning.

        Args:
            source: index of the file.
            url: what messages call it.
        """
        self._files.pop(source, None)

        def add(error: BadDocumentError) -> None:
            fresh = {"source": source, "url": masked(url), "documents": 0, "places": [], "first": str(error)}
            file = self._files.setdefault(source, fresh)
            file["documents"] += 1
            if len(file["places"]) < _PLACES:
                file["places"] = [*file["places"], error.place]

        return add

    def to_json(self, *, before: int | None = None) -> list[dict[str, Any]]:
        """`source`, `url`, `documents`, `places` (the first ones) and `first` (its message) of each file with bad
        documents.

        Args:
            before: only of files of a smaller index.
        """
        return [self._files[source] for source in sorted(self._files) if before is None or source < before]


def count_skipped(files: Iterable[Mapping[str, Any]]) -> int:
    """Documents in what `SkippedDocuments.to_json` gave."""
    return sum(file["documents"] for file in files)


def describe_skipped(files: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each file with bad documents, for logs."""
    for file in files:
        number, places = file["documents"], list(file["places"])
        more = f" and {number - len(places):,} more" if number > len(places) else ""
        yield (
            f"{file['url']}: {number:,} bad document{'s' * (number > 1)} skipped ({', '.join(places)}{more}). "
            f"The first: {file['first']}"
        )
