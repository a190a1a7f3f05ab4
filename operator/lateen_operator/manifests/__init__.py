"""The Kubernetes objects of a job, one module a kind: plain dictionaries, made by pure functions."""
