"""This machine as the place where a job runs: hosts are processes with CPU devices or local GPUs."""
