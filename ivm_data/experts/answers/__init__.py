"""What experts answered, bought once and read again by every run that asks the same."""
