"""Files and folders published whole, and locked."""
