"""The views and the shipped queries of the catalog."""
