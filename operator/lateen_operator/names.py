"""Names, labels and annotations by which the operator and its objects know each other. One thing has one name."""

import re

PREFIX = "lateen.dev/"

JOB_LABEL = PREFIX + "job"
"""On every object of a job: the job's name."""

ATTEMPT_LABEL = PREFIX + "attempt"
"""On every object of an attempt: its number."""

PROBE_LABEL = PREFIX + "capacity-probe"
"""On capacity probes: their number, from 0."""

FORMER_PROBE_LABEL = PREFIX + "scout"
"""The label's former name: an upgraded operator removes the probes that the one before it left."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "lateen"

SPEC_DIGEST = PREFIX + "spec-digest"
"""Annotation: digest of the job that the attempt was started with."""

HOSTS = PREFIX + "hosts"
"""Annotation: hosts of the attempt."""

WANTED_HOSTS = PREFIX + "wanted-hosts"
"""Annotation: hosts that the job asked for when the attempt was started."""

STOPPING = PREFIX + "stopping"
"""Annotation on a JobSet whose pods were asked to terminate: why and when, as JSON."""

LEDGER = PREFIX + "ledger"
"""Annotation on a JobSet: what the status has said of attempts since this one started, as JSON."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

JOBSET_PREFIX = "jobset.sigs.k8s.io/"
JOBSET_NAME_LABEL = JOBSET_PREFIX + "jobset-name"
JOB_INDEX_LABEL = JOBSET_PREFIX + "job-index"
"""On a pod: its Job's number in the JobSet, which is the slice."""

COMPLETION_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
"""On a pod: its number in its Job, which is the host within the slice."""

EXCLUSIVE_TOPOLOGY = "alpha.jobset.sigs.k8s.io/exclusive-topology"
"""Annotation on a JobSet: each of its Jobs has a domain of this topology, such as a node pool, for itself."""

WORKERS = "workers"
"""The JobSet's replicated job."""

BUILDERS_ATTEMPT = 0
"""Attempt that the objects of the token caches' builders belong to: before the first that trains."""

CONTAINER = "trainer"
"""The container of a pod."""

JOB_KEY = "job.json"
"""In an attempt's ConfigMap: the job as its pods read it."""

LEDGER_KEY = "ledger.json"
"""In an attempt's ConfigMap: ledger and budgets as of the attempt's start."""

COORDINATOR_PORT = 8476
MEGASCALE_PORT = 8081

_ATTEMPT = re.compile(r"(?P<job>.+)-a(?P<number>[1-9][0-9]*)")


def attempt_name(job: str, number: int) -> str:
    """Name of an attempt's JobSet, ConfigMap and service: `nano-a3`."""
    return f"{job}-a{number}"


def builders_name(job: str) -> str:
    """Name of the JobSet and ConfigMap of the builders of a job's token caches: `nano-data`."""
    return f"{job}-data"


def attempt_number(name: str, job: str) -> int | None:
    """The number of the attempt of `job` that has this name; None: it is no attempt's name."""
    match = _ATTEMPT.fullmatch(name)
    return int(match["number"]) if match is not None and match["job"] == job else None


def probe_name(job: str, index: int) -> str:
    """Name of a capacity probe's pod: `nano-probe-0`."""
    return f"{job}-probe-{index}"


def network_policy_name(job: str) -> str:
    """Name of a job's NetworkPolicy: `nano-network`."""
    return f"{job}-network"


def pod_host(attempt: str, slice_index: int, host_index: int) -> str:
    """Host name by which an attempt's pods find one of them, within their namespace: `nano-a3-workers-0-1.nano-a3`."""
    return f"{attempt}-{WORKERS}-{slice_index}-{host_index}.{attempt}"


def coordinator(attempt: str) -> str:
    """`host:port` at which process 0 of an attempt waits for the others."""
    return f"{pod_host(attempt, 0, 0)}:{COORDINATOR_PORT}"


def labels(job: str, attempt: int | None = None) -> dict[str, str]:
    """Labels of an object of a job, and of an attempt of it."""
    of_attempt = {} if attempt is None else {ATTEMPT_LABEL: str(attempt)}
    return {JOB_LABEL: job, **of_attempt, MANAGED_BY_LABEL: MANAGED_BY}


def selector(job: str, attempt: int | None = None) -> str:
    """Label selector for all objects of a job, or of one attempt, as the API takes it."""
    of_attempt = "" if attempt is None else f",{ATTEMPT_LABEL}={attempt}"
    return f"{JOB_LABEL}={job}{of_attempt}"
