"""The kinds of objects that the operator reads and writes, and their addresses on the API server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from lateen_api.spec.job import GROUP, PLURAL, VERSION

from lateen_operator.names import ATTEMPT_LABEL, JOB_LABEL


@dataclass(frozen=True)
class Resource:
    """A kind of namespaced objects."""

    group: str
    """Empty: the core group."""

    version: str
    plural: str
    selector: str | None = None
    """Labels of the objects of this kind that concern the operator; None: all."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> str:
        """Path and query on the API server: of one object, or of all of a namespace or of the cluster."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", quote(namespace)] if namespace else []
        parts += [self.plural]
        parts += [quote(name, safe=":")] if name else []
        parts += [subresource] if subresource else []
        return "/" + "/".join(parts) + (f"?{urlencode(query)}" if query else "")


JOBS = Resource(GROUP, VERSION, PLURAL)
JOB_SETS = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", selector=f"{JOB_LABEL},{ATTEMPT_LABEL}")
PODS = Resource("", "v1", "pods", selector=JOB_LABEL)
CONFIG_MAPS = Resource("", "v1", "configmaps", selector=f"{JOB_LABEL},{ATTEMPT_LABEL}")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", selector=JOB_LABEL)
EVENTS = Resource("", "v1", "events")
WORKLOADS = tuple(Resource("kueue.x-k8s.io", version, "workloads") for version in ("v1beta2", "v1beta1"))
"""Kueue's, newest version first. Not watched: `cluster/admission.py` reads them where a job waits in a queue."""

WATCHED = (JOBS, JOB_SETS, PODS, CONFIG_MAPS, NETWORK_POLICIES)
"""In the order in which they are listed: a ledger that names an attempt is older than the list of JobSets, so an
attempt whose JobSet is not in that list has none."""


def missing(resource: Resource) -> str:
    """What to say of a kind that the API server does not know: a sentence without full stop."""
    return (
        f"the API server does not know {resource.plural} of {resource.api_version}: expected the CRDs of lateen "
        "(`lateen crd | kubectl apply --server-side -f -`) and of JobSet v0.12 or newer in the cluster. Install them"
    )
