"""A real Kubernetes cluster on one Linux machine, for tests: no container engine, no registry, no virtual machine.

`python -m cluster up` (from `tests/`) starts it, `OnThisMachine` is the same from Python. docs/cluster.md says what it
is made of and what is not real in it.
"""
