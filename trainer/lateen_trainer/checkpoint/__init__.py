"""The state of training, kept so that it can be taken up again: exactly, on any mesh, or not at all.

`checkpoints.Checkpoints` is the door. This package's `__init__` imports nothing, so that
`lateen checkpoints` need not wait for jax.
"""
