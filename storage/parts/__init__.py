"""The files of parts: their schemas and names, rows and hashes, and the commit."""
