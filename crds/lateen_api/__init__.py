"""The contract of lateen: what a job is, what the pods are told, what they report.

Operator, trainer and command line all import this package; it imports none of them, and neither kopf nor jax.
"""
