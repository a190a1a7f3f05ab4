"""Batches that a run leaves out because its loss was not finite on them.

The batches of a run are numbered 0, 1, 2, …; without skips step s trains on batch s. A skipped batch is taken out of
the row, and all later ones move up: which batch a step gets depends on the set alone, not on when it was found out.
"""

from collections.abc import Mapping


class Skips:
    """The batches that are left out.

    Args:
        reasons: by number of the batch, why, for people.
    """

    def __init__(self, reasons: Mapping[int, str] | None = None):
        self.reasons = dict(sorted((reasons or {}).items()))

    @property
    def batches(self) -> tuple[int, ...]:
        """Their numbers, in order."""
        return tuple(self.reasons)

    def batch_of(self, step: int) -> int:
        """The batch that a step trains on: the one of rank `step` among those that are not left out."""
        batch = step
        for skipped in self.reasons:
            if skipped > batch:
                break
            batch += 1
        return batch

    def with_step(self, step: int, reason: str) -> "Skips":
        """These, and the batch that `step` trains on now."""
        return Skips({**self.reasons, self.batch_of(step): reason})

    def before(self, step: int) -> "Skips":
        """Those that a run has passed by when it is about to train `step`: whatever becomes of the rest, they are
        part of what it was trained on."""
        if step == 0:
            return Skips()
        last = self.batch_of(step - 1)
        return Skips({batch: reason for batch, reason in self.reasons.items() if batch < last})
