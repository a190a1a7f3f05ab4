"""A training job in the real cluster, watched from outside: its status, its losses, its pods."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.cluster import Cluster

STEPS = 400
SLOT = "lateen.dev/slot"
"""A node offers one, and a pod of these tests takes one: each node has room for one host."""


def job(
    name: str, namespace: str, folder: Path, programs: Path, *, steps: int = STEPS, **sections: Mapping[str, Any]
) -> dict[str, Any]:
    """An LMTrainingJob of a very small model, on shared storage.

    Args:
        folder: on the host and on every node; the pods see it as /shared.
        programs: likewise, for compiled programs.
        sections: fields of `spec` by section, over those here.
    """
    spec: dict[str, Any] = {
        "model": {"hiddenDim": 32, "numHeads": 2, "numLayers": 2, "seqLen": 64},
        "data": {
            "tokenizer": "bytes",
            "trainUrls": ["python-stdlib://json/*.py", "python-stdlib://email/*.py"],
            "cacheDir": "/shared/cache",
        },
        "optimizer": {"learningRate": 3e-3, "warmup": 5},
        "trainer": {"numTrainSteps": steps, "trainBatchSize": 8},
        "checkpoint": {"path": f"/shared/{name}", "saveInterval": "3s"},
        "compute": {
            "accelerator": "cpu",
            "hosts": 2,
            "devicesPerHost": 1,
            "cpu": "1",
            "memory": "2Gi",
            # Of all tests, so that each program is compiled once.
            "env": {"LATEEN_COMPILATION_CACHE": "/programs"},
            "volumes": [
                {"name": "shared", "hostPath": {"path": str(folder), "type": "Directory"}},
                {"name": "programs", "hostPath": {"path": str(programs), "type": "Directory"}},
            ],
            "volumeMounts": [
                {"name": "shared", "mountPath": "/shared"},
                {"name": "programs", "mountPath": "/programs"},
            ],
            "podTemplate": {
                "spec": {
                    "containers": [
                        {"name": "trainer", "resources": {"requests": {SLOT: "1"}, "limits": {SLOT: "1"}}},
                    ],
                }
            },
        },
        "recovery": {"heartbeatTimeout": "5s", "graceSeconds": 10},
    }
    for section, fields in sections.items():
        spec[section] = {**spec.get(section, {}), **fields} if isinstance(fields, Mapping) else fields
    return {
        "apiVersion": "lateen.dev/v1alpha1",
        "kind": "LMTrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@dataclass
class Training:
    """One job that was applied."""

    cluster: Cluster
    namespace: str
    name: str
    folder: Path

    @classmethod
    def apply(cls, cluster: Cluster, namespace: str, folder: Path, name: str, **fields: Any) -> "Training":
        """`kubectl apply` of a job."""
        cluster.kubectl.apply(job(name, namespace, folder, cluster.shared_folder("programs"), **fields))
        return cls(cluster, namespace, name, folder)

    @property
    def status(self) -> dict[str, Any]:
        """As the API server has it; empty before the operator wrote one."""
        return self.cluster.kubectl.get("lmtj", self.name, "-n", self.namespace).get("status", {})

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The entries of all attempts."""
        return self.status.get("attempts", [])

    def losses(self) -> dict[int, float]:
        """Losses by step; a step that stands twice is an error."""
        found: dict[int, float] = {}
        path = self.folder / self.name / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        for line in map(json.loads, text[: text.rfind("\n") + 1].splitlines()):
            if "loss" in line:
                assert line["step"] not in found, f"step {line['step']} stands twice"
                found[line["step"]] = line["loss"]
        return found

    def pod(self, process: int) -> dict[str, Any]:
        """The pod of a process of the present attempt (of a single slice)."""
        number = self.ledger[-1]["number"]
        labels = (
            f"lateen.dev/job={self.name},lateen.dev/attempt={number},batch.kubernetes.io/job-completion-index={process}"
        )
        [pod] = self.cluster.kubectl.get("pods", "-n", self.namespace, "-l", labels)["items"]
        return pod

    def patch(self, spec: Mapping[str, Any]) -> None:
        """`kubectl patch` of the spec."""
        patch = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", "lmtj", self.name, "-n", self.namespace, "--type=merge", f"--patch={patch}")

    def wait_for(self, what: str, holds: Callable[["Training"], bool], *, seconds: float = 120) -> None:
        """Returns when it holds; says how the job stands when it does not in time."""
        deadline = time.monotonic() + seconds
        while not holds(self):
            if time.monotonic() > deadline:
                described = self.cluster.kubectl("get", "lmtj,jobset,pod", "-n", self.namespace, "-o", "wide")
                raise AssertionError(
                    f"{self.name}: {what} did not come within {seconds} s.\n{described}\n"
                    f"{json.dumps(self.status, indent=1)}"
                )
            time.sleep(0.3)

    def wait_for_state(self, state: str, *, seconds: float = 180) -> None:
        """Returns when the status says so. A job that failed instead is an error at once."""

        def reached(training: "Training") -> bool:
            now = training.status.get("state")
            assert now != "Failed" or state == "Failed", json.dumps(training.status, indent=1)
            return now == state

        self.wait_for(f"state {state}", reached, seconds=seconds)

    def wait_for_steps(self, more: int = 50, *, attempt: int | None = None, seconds: float = 120) -> None:
        """Returns when so many steps more than now have been trained, in this attempt."""
        if attempt is not None:
            self.wait_for(f"attempt {attempt}", lambda t: len(t.ledger) >= attempt, seconds=seconds)
            # The file may still hold steps of the attempt before, which this one trains once more.
            self.wait_for(f"training of attempt {attempt}", Training._trains, seconds=seconds)
        target = max(self.losses(), default=0) + more
        self.wait_for(f"step {target}", lambda t: max(t.losses(), default=0) >= target, seconds=seconds)

    def _trains(self) -> bool:
        entry = self.ledger[-1]
        return self.status.get("state") == "Training" and entry.get("step", 0) > entry.get("firstStep", 0)

    def finish(self, *, seconds: float = 240) -> None:
        """Returns when the job is complete, each step trained once."""
        self.wait_for_state("Complete", seconds=seconds)
        assert sorted(self.losses()) == list(range(1, self.status["progress"]["of"] + 1))
