"""Runs of a very small model, in this process."""

import json
from pathlib import Path
from typing import Any

from lateen_api.environment import ProcessEnvironment
from lateen_api.load import apply_overrides
from lateen_api.spec import LMTrainingJob
from lateen_api.termination import TerminationMessage
from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.processes import Lifecycle, Peers
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.train import train


class SmallRuns:
    """Runs in folders of their own, over one text."""

    def __init__(self, folder: Path, *, seq_len: int, batch_size: int, steps: int):
        self.folder, self.text, self.cache = folder, folder / "text.txt", folder / "cache"
        self.job: dict[str, Any] = {
            "apiVersion": "lateen.dev/v1alpha1",
            "kind": "LMTrainingJob",
            "metadata": {"name": "tiny"},
            "spec": {
                "model": {"hiddenDim": 16, "numHeads": 2, "numLayers": 1, "seqLen": seq_len},
                "data": {"tokenizer": "bytes", "trainUrls": [str(self.text)], "cacheDir": str(self.cache)},
                "optimizer": {"learningRate": 1e-2, "warmup": 3},
                "trainer": {"numTrainSteps": steps, "trainBatchSize": batch_size},
                "checkpoint": {"saveInterval": "1h"},
                "compute": {"accelerator": "cpu", "devicesPerHost": 8},
            },
        }

    def run(self, name: str, *overrides: str, known_step: int | None = None) -> TerminationMessage:
        """Trains as far as it goes; how it ended.

        Args:
            known_step: step of the last checkpoint that the run is told of.
        """
        run_dir = self.folder / name
        run_dir.mkdir(exist_ok=True)
        environment = ProcessEnvironment(
            job_file="",
            run_dir=str(run_dir),
            termination_log=str(run_dir / "outcome"),
            metrics_host="127.0.0.1",
            checkpoint_step=known_step,
        )
        job = LMTrainingJob.model_validate(apply_overrides(self.job, overrides))
        with (
            Lifecycle(environment) as life,
            Reporter(life, environment, steps=job.spec.trainer.num_train_steps) as report,
        ):
            train(job, environment, life, Peers(0, 1), report)
        return TerminationMessage.from_json((run_dir / "outcome").read_text())

    def checkpoints(self, name: str) -> CheckpointFolder:
        return CheckpointFolder(str(self.folder / name / "checkpoints"))

    def lines(self, name: str, number: str) -> list[tuple[int, float]]:
        """Steps and values of the lines of metrics.jsonl that have this number."""
        lines = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], float(line[number])) for line in lines if number in line]

    def losses(self, name: str) -> list[float]:
        """By step, each of which stands once."""
        steps = self.lines(name, "loss")
        assert [step for step, _ in steps] == list(range(1, len(steps) + 1))
        return [loss for _, loss in steps]

    def summary(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "summary.json").read_text())
