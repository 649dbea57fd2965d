"""What is known of a machine label, and how much it counts in stage II."""
