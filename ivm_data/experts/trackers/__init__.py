"""Experts that carry a mask from one frame of a video to the next ones."""
