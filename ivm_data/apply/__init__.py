"""A trained masking model at work: on files, folders and videos, and on a page."""
