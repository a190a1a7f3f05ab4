"""What a trainer tells the world: trackers, progress, metrics."""
