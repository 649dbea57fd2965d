"""Decisions about labels, apart from what experts said: named, appended, undone; the same numbers in SQL and Python."""
