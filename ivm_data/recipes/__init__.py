"""What a run is told: whole labeling and training configurations by name, and what each needs on a machine."""
