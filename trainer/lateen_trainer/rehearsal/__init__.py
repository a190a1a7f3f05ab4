"""The job's training step compiled for its devices without having them: `lateen plan --compile`."""
