"""What docs/ claims, reproduced."""
