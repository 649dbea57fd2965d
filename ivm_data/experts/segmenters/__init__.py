"""Experts that turn boxes and points into masks."""
