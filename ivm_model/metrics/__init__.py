"""Masks against the truth."""
