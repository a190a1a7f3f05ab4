"""Errors that end a trainer process, each with the exit code that tells the operator what to do."""

from lateen_api import os_errors
from lateen_api.masking import masked
from lateen_api.termination import ExitCode


class TrainerError(Exception):
    """Ends the process with `exit_code` and one message for people, in which secrets in URLs are masked."""

    exit_code = ExitCode.ERROR

    def __init__(self, message: str = ""):
        super().__init__(masked(message))


class UserError(TrainerError):
    """The job cannot run as it is written."""

    exit_code = ExitCode.USER_ERROR


def of_the_system(error: OSError) -> TrainerError:
    """What the operating system refused, explained; a UserError where only a person can help."""
    kind = UserError if os_errors.exit_code(error) is ExitCode.USER_ERROR else TrainerError
    return kind(os_errors.explain(error))


class DataError(TrainerError):
    """A file of the data set cannot be read or decoded."""

    exit_code = ExitCode.BAD_DATA


class NotFiniteError(TrainerError):
    """The loss, or its gradient, of `step` (from 1 on) became NaN or infinite.

    Args:
        seen: the numbers, in a few words, for those who go on without the step's batch.
    """

    exit_code = ExitCode.NAN

    def __init__(self, message: str, step: int, *, seen: str = ""):
        super().__init__(message)
        self.step = step
        self.seen = seen


class LostPeerError(TrainerError):
    """Another process of the attempt is gone.

    Args:
        process: its number; None: nobody knows which one it is.
    """

    exit_code = ExitCode.LOST_PEER

    def __init__(self, message: str, *, process: int | None = None):
        super().__init__(message)
        self.process = process


class SupersededError(TrainerError):
    """A later attempt has taken the run over; this one was thought to be gone."""

    exit_code = ExitCode.LOST_PEER


class CorruptCheckpointError(TrainerError):
    """There are checkpoints, but none that can be restored."""

    exit_code = ExitCode.CORRUPT_CHECKPOINT
