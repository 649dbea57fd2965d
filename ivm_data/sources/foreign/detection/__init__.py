"""Data sets of boxes and masks with the names of their classes."""
