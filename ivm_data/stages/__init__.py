"""Stages: one verb over a batch each."""
