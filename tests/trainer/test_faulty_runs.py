"""Runs whose object store fails while they save: what may pass is waited for; what does not ends the run by name."""

from collections.abc import Callable, Iterator

import pytest
from cluster.faulty_proxy import FaultyProxy
from faulty_store import BUCKET, faulty_proxy, needs_server, retries
from lateen_api.termination import ExitCode
from lateen_trainer import storage
from lateen_trainer.checkpoint.folder import CheckpointFolder
from small_runs import SmallRuns

pytestmark = needs_server

STEPS = 20
SETTINGS = (f"trainer.numTrainSteps={STEPS}", "checkpoint.keep=[{every: 5}]")


@pytest.fixture
def proxy(fake_gcs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(fake_gcs, monkeypatch) as proxy:
        monkeypatch.setattr(storage, "RETRIES", retries(2))
        yield proxy


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> SmallRuns:
    """With one run, `local`, whose checkpoints lie on this machine."""
    runs = SmallRuns(tmp_path_factory.mktemp("faulty"), seq_len=16, batch_size=16, steps=STEPS)
    runs.text.write_text("A sentence that is long enough for some sequences of sixteen bytes. " * 60)
    assert runs.run("local", *SETTINGS).exit_code is ExitCode.DONE
    return runs


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, strike: Callable[[], None]) -> None:
    """Strikes when the checkpoint of a step has been committed."""
    note_commit = CheckpointFolder.note_commit

    def then_strike(folder: CheckpointFolder, committed: int) -> None:
        note_commit(folder, committed)
        if committed == step:
            strike()

    monkeypatch.setattr(CheckpointFolder, "note_commit", then_strike)


def test_a_store_that_is_away_for_two_saves_costs_the_retries(runs, proxy, monkeypatch):
    def go_away() -> None:
        proxy.faults, proxy.share, proxy.most = [503], 1, 8

    at_step(monkeypatch, 5, go_away)
    ended = runs.run("away", *SETTINGS, f"checkpoint.path=gs://{BUCKET}/away")
    assert (ended.exit_code, ended.step) == (ExitCode.DONE, STEPS)
    assert len(proxy.happened) == 8
    assert runs.losses("away") == runs.losses("local")
    assert CheckpointFolder(f"gs://{BUCKET}/away").last_commit() == STEPS


def test_a_store_that_dies_while_a_run_saves_ends_it_with_its_name(runs, proxy, monkeypatch):
    """And the next attempt goes on from the last checkpoint, with the same losses."""
    url = f"gs://{BUCKET}/dead"

    def die() -> None:
        proxy.faults, proxy.share = ["reset"], 1

    with monkeypatch.context() as patch:
        at_step(patch, 5, die)
        ended = runs.run("dead", *SETTINGS, f"checkpoint.path={url}")
    assert ended.exit_code is ExitCode.ERROR
    assert f"spec.checkpoint.path is '{url}': the object store cannot be reached (" in ended.message
    assert "That was the save number 3 in a row that failed, so the run ends." in ended.message
    assert ended.message.endswith(f"The last checkpoint: {url}/step-00000005.")
    assert ended.checkpoint == f"{url}/step-00000005"

    proxy.share = 0
    resumed = runs.run("dead", *SETTINGS, f"checkpoint.path={url}", known_step=5)
    assert (resumed.exit_code, resumed.start_step, resumed.step) == (ExitCode.DONE, 5, STEPS)
    assert runs.losses("dead") == runs.losses("local")


def test_a_right_that_is_taken_away_while_a_run_trains_ends_it_as_the_users_matter(runs, proxy, monkeypatch):
    url = f"gs://{BUCKET}/refused"

    def refuse() -> None:
        proxy.rights = proxy.rights - {"create"}

    at_step(monkeypatch, 5, refuse)
    ended = runs.run("refused", *SETTINGS, f"checkpoint.path={url}")
    assert ended.exit_code is ExitCode.USER_ERROR
    assert (
        f"spec.checkpoint.path is '{url}': access is denied: the right storage.objects.create is missing, which it "
        "takes to write objects. Give the pods' service account (spec.compute.serviceAccount) the role Storage Object "
        "User on the bucket; "
    ) in ended.message
    assert ended.checkpoint == f"{url}/step-00000005"
