"""What is said when an attempt ends and another begins, and when the user asks to stop."""

from lateen_operator.attempts import Attempt


def between_attempts(ended: Attempt) -> str:
    """`process 1 was killed by SIGKILL at step 120; attempt 2 follows`. Where that starts from is known once it has
    looked: the killed process may have committed a checkpoint that was not heard of.
    """
    cause = ended.verdict.message if ended.verdict else "it was cut off"
    at = f"at step {ended.step:,}" if ended.step else "before its first step"
    # What a process said is a sentence of its own, which `at step 3` must not seem to belong to.
    at = f"({at})" if ": " in cause else at
    return f"{cause} {at}; attempt {ended.number + 1} follows"


def going_on(last: Attempt) -> str:
    """For a folder that earlier `lateen run`s have worked in."""
    if last.checkpoint_step is None:
        return f"going on with attempt {last.number + 1}"
    return f"going on with attempt {last.number + 1}; the last checkpoint known is of step {last.checkpoint_step:,}"


def started_from(attempt: int, step: int, known: int | None) -> str:
    """Where an attempt really starts, by its own account.

    Args:
        attempt: its number.
        step: steps that were trained before it.
        known: step of the last checkpoint that was known before it began.
    """
    where = "the beginning" if step == 0 else f"the checkpoint of step {step:,}"
    older = f": that of step {known:,} cannot be restored (its log says why)" if known and step < known else ""
    return f"attempt {attempt} starts from {where}{older}"


def origin(ended: Attempt) -> str:
    """What the next attempt starts from."""
    if ended.checkpoint_step is None:
        return "the beginning (there is no checkpoint yet)"
    return f"the checkpoint of step {ended.checkpoint_step:,}"


def stopping(requests: int, grace_seconds: int) -> str:
    """The answer to the first, and to any further, wish to stop."""
    if requests > 1:
        return "stopping at once, without saving"
    return (
        f"stopping: the step is finished and saved, which may take {grace_seconds} s "
        "(spec.recovery.graceSeconds); Ctrl-C again stops at once, without saving"
    )
