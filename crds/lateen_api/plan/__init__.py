"""What a job comes to, worked out before anything is created: hosts, devices, mesh, batches, memory, tokens, FLOPs.

`make_plan` is the way in. The operator puts its refusals into a condition, `lateen plan` prints them, and the trainer
takes mesh and microbatch from it, so all three agree.
"""

from lateen_api.plan.make import make_plan
from lateen_api.plan.result import Memory, MeshShape, Plan
from lateen_api.plan.schedule import steps_of
from lateen_api.plan.transformer import parameter_count, training_flops_per_token
from lateen_api.plan.vocabulary import known_vocab_size, read_vocab_size

__all__ = [
    "Memory",
    "MeshShape",
    "Plan",
    "known_vocab_size",
    "make_plan",
    "parameter_count",
    "read_vocab_size",
    "steps_of",
    "training_flops_per_token",
]
