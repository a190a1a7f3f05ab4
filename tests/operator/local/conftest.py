"""A run folder, a supervisor over the fake trainer, and a display that remembers."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lateen_api.spec import LMTrainingJob, RecoverySpec
from lateen_operator.attempts import Attempt
from lateen_operator.local.folder import RunFolder, write_json
from lateen_operator.local.running import Launch
from lateen_operator.local.supervisor import Supervisor
from lateen_operator.local.view import View
from lateen_operator.reconcile import Timeouts

FAKE_TRAINER = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))


@dataclass
class RecordingDisplay:
    """Keeps all that it is shown."""

    views: list[View] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    closed: int = 0
    watch: Callable[[View], None] | None = None
    """Called with each view: where a test acts on a run under way."""

    def show(self, view: View) -> None:
        self.views.append(view)
        if self.watch:
            self.watch(view)

    def say(self, message: str) -> None:
        self.messages.append(message)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Stage:
    """A run folder in which fake trainers play."""

    folder: RunFolder
    job: LMTrainingJob
    display: RecordingDisplay = field(default_factory=RecordingDisplay)

    def supervisor(
        self,
        script: Mapping[str, Any] | None = None,
        *,
        hosts: int = 1,
        recovery: RecoverySpec | None = None,
        timeouts: Timeouts | None = None,
        earlier: tuple[Attempt, ...] = (),
        **play: object,
    ) -> Supervisor:
        """A supervisor over the fake trainer.

        Args:
            script: see fake_trainer.py.
            play: further FAKE_* variables, in lower case and without FAKE_.
        """
        environ = {f"FAKE_{name.upper()}": str(value) for name, value in play.items()}
        environ = {**os.environ, **environ, "FAKE_SCRIPT": json.dumps(script or {})}
        return Supervisor(
            name=self.job.metadata.name,
            where=f"{hosts} processes",
            launch=Launch(folder=self.folder, hosts=hosts, command=FAKE_TRAINER, environ=environ),
            recovery=recovery or RecoverySpec(),
            display=self.display,
            earlier=earlier,
            timeouts=timeouts,
        )


def make_job(steps: int, folder: Path) -> LMTrainingJob:
    """A small job whose checkpoints are in the folder."""
    return LMTrainingJob.model_validate(
        {
            "metadata": {"name": "tiny"},
            "spec": {
                "data": {"tokenizer": "bytes", "trainUrls": ["corpus.txt"], "cacheDir": str(folder / "cache")},
                "trainer": {"numTrainSteps": steps, "trainBatchSize": 8},
                "model": {"seqLen": 128},
                "checkpoint": {"path": str(folder / "checkpoints")},
            },
        }
    )


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    """Makes a stage for a job of so many steps."""

    def make(steps: int = 20) -> Stage:
        folder = RunFolder(tmp_path / "run")
        folder.create()
        job = make_job(steps, folder.path)
        write_json(folder.job, job.model_dump(mode="json", by_alias=True))
        return Stage(folder, job)

    return make
