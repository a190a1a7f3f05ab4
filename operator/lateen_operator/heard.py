"""What is learnt of an attempt while it runs: from process 0's reports, and from what processes leave when they end."""

import re
from dataclasses import dataclass, replace

from lateen_api.outcome import Outcome
from lateen_api.progress import BEFORE_STATE, Phase, Progress

from lateen_operator.attempts import Attempt
from lateen_operator.verdict import End

_CHECKPOINT_NAME = re.compile(r"step-(\d+)/?$")


@dataclass(frozen=True)
class Answers:
    """What process 0 of an attempt has said on /progress. Times are seconds since the epoch."""

    attempt: int
    silent_since: float | None
    """First question without an answer since the last answer; None: the last one was answered."""

    progress: Progress | None = None
    """The last answer."""

    moved_at: float | None = None
    """When the answers last changed."""

    def after(self, progress: Progress | None, now: float) -> "Answers":
        """These, and the next question's: a progress, or None when nobody answered."""
        if progress is None:
            return self if self.silent_since is not None else replace(self, silent_since=now)
        moved_at = self.moved_at if progress == self.progress else now
        return replace(self, silent_since=None, progress=progress, moved_at=moved_at)


def heard(attempt: Attempt, progress: Progress | None) -> Attempt:
    """The ledger's entry after this report."""
    if progress is None:
        return attempt
    if progress.process_started_at is not None:
        attempt = replace(_with_times(attempt, progress), last_phase=progress.phase)
    if progress.phase in BEFORE_STATE:
        return attempt
    first = attempt.first_step
    if first is None:
        # A trainer of an earlier version does not say where it began; if this comes late, the checkpoint does.
        first = progress.last_checkpoint_step or 0 if progress.phase is Phase.TRAINING else progress.step
        first = first if progress.start_step is None else progress.start_step
    loss = attempt.loss if progress.loss is None else progress.loss
    attempt = replace(attempt, first_step=first, step=progress.step, loss=loss)
    if progress.last_checkpoint_step is not None:
        attempt = replace(attempt, checkpoint_step=progress.last_checkpoint_step, checkpoint=progress.last_checkpoint)
    return attempt


def left(attempt: Attempt, end: End) -> Attempt:
    """The entry after this end: a termination message is newer than the last report."""
    outcome = end.outcome
    if outcome is None:
        return attempt
    if end.process == 0 and outcome.phase_seconds is not None:
        attempt = _with_times(attempt, outcome)
    if outcome.step is None:
        return attempt
    first = attempt.first_step
    if first is None:
        first = attempt.checkpoint_step or 0 if outcome.start_step is None else outcome.start_step
    loss = attempt.loss if outcome.loss is None else outcome.loss
    attempt = replace(attempt, first_step=first, step=max(outcome.step, attempt.step or 0), loss=loss)
    if outcome.checkpoint is None:
        return attempt
    step = outcome.checkpoint_step
    if step is None:
        step = _step_of(outcome.checkpoint, otherwise=attempt.checkpoint_step)
    return replace(attempt, checkpoint=outcome.checkpoint, checkpoint_step=step)


def _with_times(attempt: Attempt, told: Progress | Outcome) -> Attempt:
    """The entry with what process 0 says of its phases."""
    return replace(
        attempt,
        process_started_at=told.process_started_at,
        phase_seconds=told.phase_seconds,
        data_wait_seconds=told.data_wait_seconds,
    )


def _step_of(checkpoint: str, *, otherwise: int | None) -> int | None:
    """The step of a checkpoint from its name, `…/step-00000020`: older trainers do not say it elsewhere."""
    match = _CHECKPOINT_NAME.search(checkpoint)
    return int(match[1]) if match else otherwise
