"""Out of files: which rows count, and whole labels."""
