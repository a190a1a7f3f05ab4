"""Who owns what the operator creates: the job. Kubernetes deletes a job's objects with it, operator or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen_api.spec.job import API_VERSION, KIND


@dataclass(frozen=True)
class Owner:
    """An LMTrainingJob as its objects refer to it."""

    name: str
    namespace: str
    uid: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Owner":
        """The owner by the resource as the API server stores it."""
        metadata = body["metadata"]
        return cls(metadata["name"], metadata["namespace"], metadata["uid"])

    def reference(self) -> dict[str, Any]:
        """The entry of `metadata.ownerReferences`. The job can go before its objects have gone: nothing waits."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }

    def owns(self, body: Mapping[str, Any]) -> bool:
        """Is it the controller of this object?"""
        references = body.get("metadata", {}).get("ownerReferences") or ()
        return any(reference.get("controller") and reference["uid"] == self.uid for reference in references)


def metadata(
    owner: Owner, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`metadata` of an object of a job."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": dict(labels),
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [owner.reference()],
    }
