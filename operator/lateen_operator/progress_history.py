"""What is known of an attempt while it runs, by polls of process 0 and by the termination messages of processes."""

import re
from dataclasses import dataclass, replace

from lateen_api.progress import BEFORE_STATE, Phase, Progress
from lateen_api.termination import TerminationMessage

from lateen_operator.attempts import Attempt
from lateen_operator.process_exit import ProcessExit
from lateen_operator.stragglers import SlowProcess, slow_process

_CHECKPOINT_NAME = re.compile(r"step-(\d+)/?$")


@dataclass(frozen=True)
class ProgressHistory:
    """The progress polls of process 0 of an attempt. Times are seconds since the epoch."""

    attempt: int
    silent_since: float | None
    """When the first poll failed since the last answer; None: the last poll was answered."""

    progress: Progress | None = None
    """The last answer."""

    moved_at: float | None = None
    """When the answers last changed."""

    slow: SlowProcess | None = None
    """The process that the others wait for, by the last answer."""

    def after(self, progress: Progress | None, now: float) -> "ProgressHistory":
        """This history after another poll: its progress, or None if there was no answer."""
        if progress is None:
            return self if self.silent_since is not None else replace(self, silent_since=now)
        moved_at = self.moved_at if progress == self.progress else now
        slow = slow_process(self.slow, progress.slowest_process, now)
        return replace(self, silent_since=None, progress=progress, moved_at=moved_at, slow=slow)


def update_from_progress(attempt: Attempt, progress: Progress | None) -> Attempt:
    """The attempt after this progress poll."""
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


def update_from_exit(attempt: Attempt, end: ProcessExit) -> Attempt:
    """The attempt after this exit: a termination message is newer than the last poll."""
    message = end.termination
    if message is None:
        return attempt
    if end.process == 0 and message.phase_seconds is not None:
        attempt = _with_times(attempt, message)
    if message.step is None:
        return attempt
    first = attempt.first_step
    if first is None:
        first = attempt.checkpoint_step or 0 if message.start_step is None else message.start_step
    loss = attempt.loss if message.loss is None else message.loss
    attempt = replace(attempt, first_step=first, step=max(message.step, attempt.step or 0), loss=loss)
    if message.checkpoint is None:
        return attempt
    step = message.checkpoint_step
    if step is None:
        step = _step_of(message.checkpoint, otherwise=attempt.checkpoint_step)
    return replace(attempt, checkpoint=message.checkpoint, checkpoint_step=step)


def _with_times(attempt: Attempt, source: Progress | TerminationMessage) -> Attempt:
    """The entry with the phase times that process 0 reports."""
    return replace(
        attempt,
        process_started_at=source.process_started_at,
        phase_seconds=source.phase_seconds,
        data_wait_seconds=source.data_wait_seconds,
    )


def _step_of(checkpoint: str, *, otherwise: int | None) -> int | None:
    """The step of a checkpoint from its name, `…/step-00000020`: older trainers do not say it elsewhere."""
    match = _CHECKPOINT_NAME.search(checkpoint)
    return int(match[1]) if match else otherwise
