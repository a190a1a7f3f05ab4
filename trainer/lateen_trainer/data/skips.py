"""Batches that a run leaves out because its loss was not finite on them.

The batches of a run are numbered 0, 1, 2, …; without skips step s trains on batch s. A skipped batch is taken out of
the row, and all later ones move up: which batch a step gets depends on the set alone, not on when it was found out.
"""

from collections.abc import Iterable


class Skips:
    """The numbers of the batches that are left out, in order."""

    def __init__(self, batches: Iterable[int] = ()):
        self.batches = tuple(sorted(set(batches)))

    def batch_of(self, step: int) -> int:
        """The batch that a step trains on: the one of rank `step` among those that are not left out."""
        batch = step
        for skipped in self.batches:
            if skipped > batch:
                break
            batch += 1
        return batch

    def with_step(self, step: int) -> "Skips":
        """These, and the batch that `step` trains on now."""
        return Skips((*self.batches, self.batch_of(step)))
