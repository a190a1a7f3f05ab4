"""When to save, and which checkpoints stay. Pure: time comes in as an argument."""

from collections.abc import Sequence
from dataclasses import dataclass

from lateen_api.spec.checkpoint import KeepRule


def is_permanent(step: int, keep: Sequence[KeepRule]) -> bool:
    """Whether a rule keeps the checkpoint of this step for good."""
    return any(step % rule.every == 0 and (rule.until is None or step <= rule.until) for rule in keep)


def which_to_delete(steps: Sequence[int], keep: Sequence[KeepRule]) -> list[int]:
    """The checkpoints that nothing keeps, in order: all but the newest one and those that a rule keeps.

    Args:
        steps: of the complete checkpoints.
        keep: the job's rules.
    """
    newest = max(steps, default=None)
    return [step for step in sorted(steps) if step != newest and not is_permanent(step, keep)]


@dataclass(frozen=True)
class SavePolicy:
    """When a checkpoint is due: at each step that a rule keeps, and a while after the last save began."""

    save_interval_seconds: float
    """The while."""

    keep: tuple[KeepRule, ...] = ()
    last_save: float = 0.0
    """When the last save began, or the run: seconds, on the clock of `now`."""

    def due(self, step: int, now: float) -> bool:
        """Whether to save after this many steps.

        Processes have clocks of their own: let one decide for all.
        """
        if step > 0 and is_permanent(step, self.keep):
            return True
        return now - self.last_save >= self.save_interval_seconds

    def due_in(self, seconds: float, now: float) -> "SavePolicy":
        """The policy after a save that failed at `now`: the next is due after so many seconds, or the usual time."""
        wait = min(seconds, self.save_interval_seconds)
        return SavePolicy(self.save_interval_seconds, self.keep, now + wait - self.save_interval_seconds)

    def saved(self, now: float) -> "SavePolicy":
        """The policy after a save that began at `now`."""
        return SavePolicy(self.save_interval_seconds, self.keep, now)
