"""Where structures come from: fragments, their pairs and encounters, reaction paths, boxes of water, trajectories."""
