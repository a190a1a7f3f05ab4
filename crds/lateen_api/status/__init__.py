"""The status of an LMTrainingJob: what the operator writes, and `kubectl` and dashboards read.

Everything in it can be rebuilt from the cluster and the checkpoint path; nothing is kept here alone.
"""

from lateen_api.status.attempt import ATTEMPTS_KEPT, MESSAGE_KEPT, AttemptStatus, AvoidedNodeStatus, BudgetStatus
from lateen_api.status.condition import CONDITION_MEANING, Condition, ConditionType
from lateen_api.status.data import DataStatus
from lateen_api.status.job import STATES, JobStatus
from lateen_api.status.part import Timestamp
from lateen_api.status.plan import HOST_COUNTS_KEPT, WARNINGS_KEPT, PlanStatus
from lateen_api.status.progress import CheckpointStatus, ProgressStatus, TimeStatus

__all__ = [
    "ATTEMPTS_KEPT",
    "CONDITION_MEANING",
    "HOST_COUNTS_KEPT",
    "MESSAGE_KEPT",
    "STATES",
    "WARNINGS_KEPT",
    "AttemptStatus",
    "AvoidedNodeStatus",
    "BudgetStatus",
    "CheckpointStatus",
    "Condition",
    "ConditionType",
    "DataStatus",
    "JobStatus",
    "PlanStatus",
    "ProgressStatus",
    "TimeStatus",
    "Timestamp",
]
