"""Names of the numbers that the trainer logs: the keys of metrics.jsonl, W&B and TensorBoard. The metrics
server derives its own from them (see `prometheus`)."""

LOSS = "loss"
"""Training loss of the step: nats per token."""

VALIDATION_LOSS = "validation_loss"
"""Loss of an evaluation: nats per token, over the tokens of all sources."""

VALIDATION_LOSS_OF = "validation/{source}"
"""The same of one source of a mixture."""

COUNTED_TOKENS = "counted_tokens"
"""Of the step's batch, those that count in the loss, where not all do."""

LEARNING_RATE = "learning_rate"

GRAD_NORM = "grad_norm"
"""Norm of the whole gradient, before clipping."""

TOKENS = "tokens"
"""Trained on since step 0, this step included."""

TOKENS_PER_SECOND = "tokens_per_second"
"""Over all devices; moving average."""

MFU = "mfu"
"""Model FLOPs utilisation, 0 to 1."""

STEP_SECONDS = "step_seconds"
"""The step took, without evaluation and saving."""

DATA_WAIT_SECONDS = "data_wait_seconds"
"""The loop waited for the step's batch."""

COMPILE_SECONDS = "compile_seconds"
"""XLA compiled, or loaded what it had compiled before."""

CHECKPOINT_SECONDS = "checkpoint_seconds"
"""From a checkpoint's snapshot to its commit."""

CHECKPOINT_BLOCKED_SECONDS = "checkpoint_blocked_seconds"
"""The loop waited for a checkpoint."""

CHECKPOINT_BYTES = "checkpoint_bytes"
"""Size of a checkpoint."""
