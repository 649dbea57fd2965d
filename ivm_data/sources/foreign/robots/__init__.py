"""Frames of robot episodes."""
