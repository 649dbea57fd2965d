"""Labeling experts: one model family a file, behind `common.protocols`."""
