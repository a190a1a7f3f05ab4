"""Which process it began with, where all that is known is what processes say of each other. Pure."""

from collections.abc import Iterable, Mapping

from lateen_api.termination import ExitCode, TerminationMessage


def first_signalled(outcomes: Iterable[TerminationMessage | None]) -> int | None:
    """The process that was asked to terminate, of those that saved and left together; None: they do not say.

    Those that could not save in time may have been told because another one had died, as Jobs delete their other pods
    then; they prove nothing.
    """
    saved = (outcome for outcome in outcomes if outcome is not None and outcome.exit_code == ExitCode.SAVED)
    return next((one.signalled_process for one in saved if one.signalled_process is not None), None)


def first_lost(accused: Mapping[int, int | None]) -> int | None:
    """The process with which it all began; None: they do not say, or accuse each other, as the two sides of a broken
    connection do.

    Args:
        accused: for each process that left because it had lost another, that other one, which may be itself (it was
            frozen, and its peers told it so); None: it could not tell.
    """
    blamed = {_behind(process, accused) for process, other in accused.items() if other is not None}
    return blamed.pop() if len(blamed) == 1 else None


def _behind(process: int, accused: Mapping[int, int | None]) -> int | None:
    """Who was lost by the one whom this process has lost, and so on."""
    passed = {process}
    while (other := accused.get(process)) is not None:
        if other == process:
            return process
        if other in passed:
            return None
        passed.add(other)
        process = other
    # One that left because of somebody whom it could not name did not begin it.
    return None if process in accused else process
