"""The server that fails on command: tests have no packages to import it from, so they import it by its own name."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("chat_server", Path(__file__).with_name("chat_server.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["chat_server"] = _MODULE
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture
def server() -> Iterator[Any]:
    """A `chat_server.Server` on a free port."""
    server = _MODULE.Server()
    yield server
    server.stop()
