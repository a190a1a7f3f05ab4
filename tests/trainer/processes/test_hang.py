"""A loop that stands still does not hold its accelerators for ever."""

from pathlib import Path

import pytest
from lateen_api.termination import ExitCode
from trainer.processes.gang import Gang

RECOVERY = {"heartbeatTimeout": "30s", "hangAfter": "2s", "startDeadline": "1m"}


def test_a_hang_ends_the_process_and_shows_where_it_was(tmp_path: Path):
    with Gang(tmp_path, 1, recovery=RECOVERY, mishaps={"0@5": "hang"}) as gang:
        gang.wait_for("step 5\n")
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.HANG}
        assert seconds < 8
        assert gang.outcome(0).step == 5
        assert " in mishap" in gang.log(0)


def test_a_hang_that_holds_pythons_lock_ends_too(tmp_path: Path):
    """No thread of Python can run then, so there is no outcome; but the process is gone and its log says where."""
    with Gang(tmp_path, 1, recovery=RECOVERY, mishaps={"0@5": "hang with Python's lock"}) as gang:
        gang.wait_for("step 5\n")
        codes, seconds = gang.exits()
        assert codes == {0: ExitCode.ERROR}
        assert seconds < 8
        assert " in mishap" in gang.log(0)


@pytest.mark.slow
def test_a_hang_of_one_ends_all_and_shows_all_stacks(tmp_path: Path):
    """The others wait in a collective for the one that hangs: only its own stack tells why."""
    with Gang(tmp_path, 2, recovery=RECOVERY, mishaps={"1@5": "hang"}) as gang:
        gang.wait_for("step 5\n")
        codes, seconds = gang.exits()
        assert set(codes.values()) <= {ExitCode.HANG, ExitCode.LOST_PEER}
        assert ExitCode.HANG in codes.values()
        assert seconds < 8
        assert " in mishap" in gang.log(1)
