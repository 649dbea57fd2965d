"""Multimodal models that rewrite, verify and answer, in process or behind an endpoint."""
