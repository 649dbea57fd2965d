"""The HTTP client under OpenAI's: what a server sends is bounded in time and size, and never repeats the key."""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx2
from openai import DefaultHttpxClient

from ivm_data.deadline import Deadline

MAX_BYTES = 16 << 20
"""Of an answer. One with the log-probabilities of a thousand tokens and their 20 likeliest has 2 MiB."""
HIDDEN = "***"
"""What stands for the key wherever a server repeats it."""
LEAST_SECRET = 8
"""Characters of a key that is a secret; a shorter one is a dummy, and may be a word of any answer."""
_MAX_REDIRECTS = 5


class BoundedClient(DefaultHttpxClient):
    """A client whose answers are whole when `send` returns; for requests that are not streamed.

    Args:
        seconds: for one attempt, from the request sent to the last byte of its answer.
        key: hidden in what comes back.
        attempt: entered around each attempt, which it may hold back; that time does not count. It is told the status.
    """

    def __init__(
        self, seconds: float, key: str, attempt: Callable[[], AbstractContextManager[Callable[[int], None]]]
    ) -> None:
        super().__init__(timeout=seconds)
        self._seconds, self._attempt = seconds, attempt
        self._secret = key.encode() if len(key) >= LEAST_SECRET else b""
        self._connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """The answer with its body.

        Raises:
            httpx2.RequestError: it is late, too large, compressed although that was not asked for, or never came.
        """
        with self._attempt() as answered:
            response = self._whole(request, options)
            answered(response.status_code)
        return response

    def _whole(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        late = httpx2.ReadTimeout(f"no whole answer within {self._seconds:g} s", request=request)
        with Deadline(self._seconds, late, self._kept) as deadline:
            response = self._answered(request, deadline, options)
            try:
                body = _read(response)
            finally:
                response.close()
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "transfer-encoding"]
        content = body.replace(self._secret, HIDDEN.encode()) if self._secret else body
        return httpx2.Response(response.status_code, headers=headers, content=content, request=response.request)

    def _answered(self, request: httpx2.Request, deadline: Deadline, options: dict[str, Any]) -> httpx2.Response:
        """The answer's head, where redirects lead."""
        for _ in range(_MAX_REDIRECTS + 1):
            request.headers["Accept-Encoding"] = "identity"
            request.extensions = {**request.extensions, "trace": deadline.trace}
            response = super().send(request, stream=True, **{**options, "follow_redirects": False})
            connection = response.extensions["network_stream"]
            deadline.uses(connection)
            with self._lock:
                self._connections.add(connection.get_extra_info("socket"))
            if response.next_request is None:
                return response
            response.close()
            request = response.next_request
        raise httpx2.TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects", request=request)

    def _kept(self) -> list[socket.socket]:
        with self._lock:
            return list(self._connections)


def _read(response: httpx2.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("the answer is compressed, which was not asked for", request=response.request)
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise httpx2.DecodingError(f"the answer has more than {MAX_BYTES} bytes", request=response.request)
    return bytes(body)
