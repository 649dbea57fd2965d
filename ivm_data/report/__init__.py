"""One self-contained HTML page about a labeled data set."""
