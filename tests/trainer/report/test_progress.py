"""What /progress says as the loop goes on."""

from dataclasses import dataclass

from lateen_api.progress import Phase
from lateen_trainer.report.progress import ProgressState


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def trained(state: ProgressState, clock: Clock, seconds: list[float], first: int = 1) -> None:
    """Reports steps that took so many seconds each."""
    for step, elapsed in enumerate(seconds, start=first):
        clock.now += elapsed
        state.trained(step, loss=float(step))


def test_a_new_state_is_starting():
    progress = ProgressState(Clock()).snapshot()
    assert (progress.phase, progress.since, progress.step) == (Phase.STARTING, 1000.0, 0)


def test_since_is_when_the_phase_began_whatever_its_detail():
    clock = Clock()
    state = ProgressState(clock)
    state.enter(Phase.TOKENIZING, "1 of 3 files")
    clock.now = 1005.0
    state.enter(Phase.TOKENIZING, "2 of 3 files")
    assert (state.snapshot().since, state.snapshot().detail) == (1000.0, "2 of 3 files")


def test_a_trained_step_moves_step_tokens_loss_and_since():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=10, step=4, tokens_per_step=512)
    trained(state, clock, [2.0], first=5)
    progress = state.snapshot()
    assert (progress.step, progress.of, progress.tokens, progress.loss) == (5, 10, 5 * 512, 5.0)
    assert (progress.phase, progress.since, progress.detail) == (Phase.TRAINING, 1002.0, None)


def test_a_restored_run_has_its_tokens_at_once():
    state = ProgressState(Clock())
    state.configure(of=10, step=4, tokens_per_step=512)
    assert state.snapshot().tokens == 2048


def test_the_first_step_does_not_count_for_the_speed():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=10, step=0, tokens_per_step=100)
    state.enter(Phase.COMPILING)
    trained(state, clock, [60.0])
    assert state.tokens_per_second is None
    trained(state, clock, [0.5, 1.5], first=2)
    assert state.tokens_per_second == 100.0


def test_evaluation_does_not_count_for_the_speed():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=10, step=0, tokens_per_step=100)
    state.enter(Phase.TRAINING)
    trained(state, clock, [1.0])
    state.enter(Phase.EVALUATING)
    clock.now += 500.0
    state.evaluated(3.5)
    state.enter(Phase.TRAINING)
    trained(state, clock, [1.0], first=2)
    assert state.tokens_per_second == 100.0
    assert state.snapshot().validation_loss == 3.5


def test_the_speed_is_that_of_the_last_fifty_steps():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=200, step=0, tokens_per_step=100)
    state.enter(Phase.TRAINING)
    trained(state, clock, [10.0] * 20 + [2.0] * 50)
    assert state.tokens_per_second == 50.0


def test_mfu_is_the_share_of_the_peak():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=10, step=0, tokens_per_step=1000, flops_per_token=6e9, peak_flops=2e13)
    state.enter(Phase.TRAINING)
    trained(state, clock, [0.5])
    assert state.mfu == 0.6


def test_mfu_is_unknown_without_a_peak():
    clock = Clock()
    state = ProgressState(clock)
    state.configure(of=10, step=0, tokens_per_step=1000, flops_per_token=6e9)
    state.enter(Phase.TRAINING)
    trained(state, clock, [0.5])
    assert state.mfu is None


def test_the_last_checkpoint_is_named():
    state = ProgressState(Clock())
    state.committed("gs://runs/a/step-40", 40)
    assert state.snapshot().last_checkpoint == "gs://runs/a/step-40"
    assert state.snapshot().last_checkpoint_step == 40
