"""Configurations of labeling and training by name, and what each needs on a machine."""
