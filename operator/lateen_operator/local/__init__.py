"""This machine as the place where a job runs: hosts are processes, their devices CPU devices or local GPUs."""
