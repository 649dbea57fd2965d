"""The labeling engine: sources, experts, stages, quality, and the procedural world."""
