"""The operator: LMTrainingJobs of a Kubernetes cluster, each from its creation to its end."""
