"""Cluster state in, decisions out: runs LMTrainingJobs on Kubernetes or on this machine."""
