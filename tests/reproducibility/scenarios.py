"""One case from beginning to end: attempts, and the fault that ends each but the last.

Faults are real: signals to single processes, at moments that are seen to be the right ones. Every attempt is checked
to have ended as it should, so that a fault that missed is an error and not an equal run.
"""

import random
import signal
import time
from pathlib import Path

from lateen_api.hugging_face.checkpoint import MANIFEST
from lateen_api.termination import ExitCode
from lateen_trainer.checkpoint.folder import step_name

from reproducibility.bits import Bits, metrics, read_bits, steps_trained
from reproducibility.cases import Case, Scenario, route
from reproducibility.job import STEPS, STEPS_PER_SAVE, make_job
from reproducibility.trainers import END_WITHIN, POLL, Attempt, attempt, meaning

SAVED_BEFORE = STEPS_PER_SAVE
"""Steps of the checkpoint that a killed run goes back to."""


def run_case(case: Case, run: Path, shared: Path) -> Bits:
    """Runs a case to its end.

    Args:
        run: an empty folder.
        shared: folder for tokens and compiled programs, for all cases.

    Raises:
        AssertionError: an attempt did not end as it should, or the run is not whole.
    """
    run.mkdir(parents=True)
    chance = random.Random(str(case))
    layouts = route(case)
    for number, layout in enumerate(layouts, start=1):
        job = make_job(case.numerics, layout, run, shared / "tokens")
        job_file = run / f"job-{number}.json"
        job_file.write_text(job.model_dump_json(by_alias=True))
        before = steps_trained(run)
        with attempt(job_file, run, number, layout.processes, shared / "programs") as trainers:
            if number == len(layouts):
                _finish(trainers)
            elif case.scenario is Scenario.KILLED:
                _kill_in_a_step(trainers, run, chance)
            elif case.scenario is Scenario.KILLED_SAVING:
                _kill_in_a_save(trainers, run, chance)
            else:
                _stop(trainers, run, after=before + chance.randint(1, 3))
        _check_start(case, run, number, before)
    return read_bits(run, STEPS)


def _finish(trainers: Attempt) -> None:
    codes = trainers.exit_codes()
    assert set(codes) == {ExitCode.DONE}, f"{list(map(meaning, codes))}:\n{trainers.logs()}"


def _stop(trainers: Attempt, run: Path, after: int) -> None:
    """SIGTERM to all once a step is trained; all must end with it saved, and no later step reported."""
    _wait_for_step(trainers, run, after)
    trainers.signal(signal.SIGTERM)
    codes = trainers.exit_codes()
    assert set(codes) == {ExitCode.SAVED}, f"{list(map(meaning, codes))}:\n{trainers.logs()}"
    step = trainers.outcome().step
    assert step is not None and step == steps_trained(run), f"saved step {step}, and trained {steps_trained(run)}"
    assert step < STEPS, "the run was over before it was stopped"


def _kill_in_a_step(trainers: Attempt, run: Path, chance: random.Random) -> None:
    """SIGKILL to one process while a step is computed: one always is, but while a checkpoint begins."""
    _wait_for_step(trainers, run, SAVED_BEFORE + 1)
    _wait_for(trainers, run / "checkpoints" / step_name(SAVED_BEFORE) / MANIFEST)
    time.sleep(chance.random() * _step_seconds(run))
    _kill(trainers, chance)


def _kill_in_a_save(trainers: Attempt, run: Path, chance: random.Random) -> None:
    """SIGKILL to one process while a checkpoint's files are written: all are halted while it is looked whether the
    checkpoint is begun and not committed."""
    for step in range(SAVED_BEFORE + STEPS_PER_SAVE, STEPS, STEPS_PER_SAVE):
        checkpoint = run / "checkpoints" / step_name(step)
        _wait_for(trainers, checkpoint)
        trainers.signal(signal.SIGSTOP)
        if not (checkpoint / MANIFEST).exists():
            _kill(trainers, chance)
            assert not (checkpoint / MANIFEST).exists(), "the others committed what one was killed at"
            return
        trainers.signal(signal.SIGCONT)
    raise AssertionError("every checkpoint was committed before it could be looked at")


def _kill(trainers: Attempt, chance: random.Random) -> None:
    """SIGKILL to one process; the others must end by themselves, naming a lost peer."""
    victim = chance.randrange(len(trainers.processes))
    trainers.signal(signal.SIGKILL, victim)
    trainers.signal(signal.SIGCONT)
    codes = trainers.exit_codes()
    expected = [-signal.SIGKILL if number == victim else ExitCode.LOST_PEER for number in range(len(codes))]
    assert codes == expected, f"{list(map(meaning, codes))}:\n{trainers.logs()}"


def _check_start(case: Case, run: Path, number: int, before: int) -> None:
    """Where an attempt began: a stopped run repeats no step, a killed one goes back to its last checkpoint."""
    if number == 1:
        return
    first = min(line["step"] - 1 for line in metrics(run) if "loss" in line and line["attempt"] == number)
    if case.scenario in (Scenario.KILLED, Scenario.KILLED_SAVING):
        assert 0 < first <= before and first % STEPS_PER_SAVE == 0, f"attempt {number} began at step {first}"
    else:
        assert first == before, f"attempt {number} began at step {first}, and {before} were trained"
    if case.scenario is Scenario.KILLED_SAVING:
        aside = list((run / "checkpoints").glob("*.incomplete"))
        assert len(aside) == 1, f"expected one torn checkpoint set aside: {aside}"


def _wait_for_step(trainers: Attempt, run: Path, steps: int) -> None:
    deadline = time.monotonic() + END_WITHIN
    while steps_trained(run) < steps:
        trainers.check_alive(deadline)
        time.sleep(POLL)


def _wait_for(trainers: Attempt, path: Path) -> None:
    deadline = time.monotonic() + END_WITHIN
    while not path.exists():
        trainers.check_alive(deadline)
        time.sleep(POLL)


def _step_seconds(run: Path) -> float:
    """Of the last step."""
    return next(line["step_seconds"] for line in reversed(metrics(run)) if "step_seconds" in line)
