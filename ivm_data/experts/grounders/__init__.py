"""Experts that find boxes for phrases."""
