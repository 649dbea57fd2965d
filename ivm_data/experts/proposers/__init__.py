"""Experts that give one mask for a whole instruction."""
