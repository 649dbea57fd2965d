"""An end to requests whose answer never ends: a server may drip a byte now and then for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

_CONNECTED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Deadline:
    """Shuts the connection of a request that is still under way after so many seconds, then raises an error.

    Args:
        seconds: from `__enter__` on.
        error: what is raised; what was cut off can look like an answer without a length that has ended.
        kept: gives open connections, any of which the request may use without saying so; all are shut where it did.
    """

    def __init__(self, seconds: float, error: Exception, kept: Callable[[], Iterable[socket.socket]] = list) -> None:
        self._error, self._kept = error, kept
        self._socket: socket.socket | None = None
        self._passed = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        if self._passed:
            raise self._error from error

    def trace(self, event: str, seen: dict[str, Any]) -> None:
        """httpx calls this at every step of a request that has it as its extension "trace"."""
        if event in _CONNECTED:
            self.uses(seen["return_value"])

    def uses(self, stream: Any) -> None:
        """Say which network stream of httpx the request is on."""
        self._socket = stream.get_extra_info("socket")

    def _end(self) -> None:
        self._passed = True
        for connection in [self._socket] if self._socket is not None else self._kept():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
