"""A whole cache: the tokens of a split, read in runs."""

from collections.abc import Iterator

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data.layout import ARRAY, open_array
from lateen_trainer.data.ledger import LEDGER, Ledger, chained
from lateen_trainer.data.reader import MappedTokens, StoredTokens, TokenReader, corrupt_cache
from lateen_trainer.errors import DataError

FIELD = "spec.data.cacheDir"


class TokenCache:
    """The tokens of all documents of a split, an end-of-text token behind each."""

    def __init__(self, url: str, ledger: Ledger, reader: TokenReader):
        self.url = url
        self.ledger = ledger
        self._reader = reader

    def __len__(self) -> int:
        """Tokens."""
        return self.ledger.tokens

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` tokens from each of `starts`: int32 (starts, length). Several threads may read at once.

        Raises:
            DataError: a chunk is lost or corrupt.
        """
        return self._reader.read(starts, length)

    def blocks(self, size: int = 1 << 20) -> Iterator[np.ndarray]:
        """All tokens in order, in int32 arrays of up to `size`."""
        for start in range(0, len(self), size):
            yield self.rows(np.array([start]), min(size, len(self) - start))[0]

    def verify(self) -> None:
        """Reads all tokens and compares their digest with the ledger's.

        Raises:
            DataError: they are not the tokens that were written.
        """
        digest = ""
        for shard in self.blocks(self.ledger.layout.shard):
            digest = chained(digest, shard.astype(self.ledger.dtype).tobytes())
        if digest != self.ledger.digest:
            raise DataError(
                f"{self.url} holds other tokens than were written: their digest is {digest}, in {LEDGER} "
                f"it is {self.ledger.digest}. Delete the folder; the cache is built anew."
            )


def open_cache(url: str, ledger: Ledger, context: ts.Context) -> TokenCache:
    """The whole cache in the folder `url`: mapped into memory where it is local, else read by TensorStore.

    Raises:
        DataError: parts of it are lost or corrupt.
        UserError: it cannot be read.
    """
    folder = storage.local_path(url)
    if folder is not None:
        reader = MappedTokens(folder / ARRAY, tokens=ledger.tokens, dtype=np.dtype(ledger.dtype), layout=ledger.layout)
        return TokenCache(url, ledger, reader)
    with storage.explained(url, field=FIELD):
        try:
            array = open_array(storage.kvstore_spec(url, field=FIELD), context)
        except ValueError as error:
            # There is a ledger, so there is a bucket: what is not found is a part of the cache.
            if str(error).startswith(("NOT_FOUND", "FAILED_PRECONDITION", "DATA_LOSS", "INVALID_ARGUMENT")):
                problem = str(error).partition(" [tensorstore_spec=")[0]
                raise corrupt_cache(url, problem) from error
            raise
    if array.shape != (ledger.tokens,):
        raise DataError(
            f"{url} holds {array.shape[0]:,} tokens, but its {LEDGER} says {ledger.tokens:,}. "
            "Delete the folder; the cache is built anew, with the same tokens."
        )
    return TokenCache(url, ledger, StoredTokens(array, url))
