"""Prefect flows: label, train, evaluate, report, compact, and when each starts. Only here is prefect imported.

A flow lies in the module of its name, `from flows.label import label`, which is also its entrypoint for Prefect.
"""

from storage import __version__ as __version__
