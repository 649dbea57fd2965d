"""What is appended beside the labels: reviews, decisions, snapshots, recipes."""
