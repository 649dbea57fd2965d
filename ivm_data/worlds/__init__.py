"""The procedural world: scenes with exact ground truth and a compositional instruction grammar."""
