"""Prefect flows: label, train, and both in a row. The only package that imports prefect."""
