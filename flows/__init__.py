"""Prefect flows: label, gate, train, evaluate, report, compact, and when each starts. Only here is prefect imported.

A flow lies in the module of its name, `from flows.label import label`, which is also its entrypoint for Prefect.
"""

from importlib.util import find_spec

from storage import __version__ as __version__
from storage.common.extras import extra

with extra("flows"):
    if find_spec("prefect") is None:
        raise ModuleNotFoundError("No module named 'prefect'", name="prefect")
