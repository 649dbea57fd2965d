"""Labeling experts: one model family a file, behind the protocols of `base`."""
