"""What is said when an attempt ends and another begins, and when the user asks to stop."""

from lateen_operator.attempts import Attempt


def between_attempts(ended: Attempt) -> str:
    """`process 1 was killed by SIGKILL at step 120; attempt 2 starts from the checkpoint of step 100`."""
    cause = ended.verdict.message if ended.verdict else "it was cut off"
    at = f"at step {ended.step:,}" if ended.step else "before its first step"
    # What a process said is a sentence of its own, which `at step 3` must not seem to belong to.
    at = f"({at})" if ": " in cause else at
    return f"{cause} {at}; attempt {ended.number + 1} starts from {origin(ended)}"


def going_on(last: Attempt) -> str:
    """For a folder that earlier `lateen run`s have worked in."""
    if last.checkpoint_step is None:
        return f"going on with attempt {last.number + 1}"
    return f"going on with attempt {last.number + 1} from {origin(last)}"


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
