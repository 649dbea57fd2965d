"""What the libraries log, in the log of the run that they work for."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

PACKAGES = ("storage", "ivm_model", "ivm_data")


def log_to_runs(level: int = logging.INFO) -> None:
    """From now on, what the engine's packages log from `level` on belongs to the run that is under way."""
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(level)
        if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
            handler = APILogHandler()
            handler.addFilter(_in_a_run)
            logger.addHandler(handler)


def _in_a_run(record: logging.LogRecord) -> bool:
    """Prefect's handler warns of each record that belongs to no run."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None
