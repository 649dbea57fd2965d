"""Pages for this machine alone: who asks for them by its name, and from which page."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"
_NAMES = {HOST, "localhost", "::1"}
READING = ("GET", "HEAD")
"""Methods that change nothing."""


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_name(host: str) -> bool:
    """Whether a request's Host names this machine; a foreign name that leads here is DNS rebinding."""
    try:
        return urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:  # no address at all, such as "["
        return False


def is_own_page(origin: str | None, host: str) -> bool:
    """Whether a request's Origin is a page of this Host; a browser sends one with whatever changes something."""
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False


class OnlyThisMachine:
    """ASGI middleware: 421 for a foreign Host, 403 for a change that a foreign page asks for; WebSockets are closed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may reach the page, answer the rest."""
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketClose

        refusal = _refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, refusal[1])(scope, receive, send)
        else:
            await PlainTextResponse(refusal[1], status_code=refusal[0])(scope, receive, send)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """(status, why) for a request that must not reach the page."""
    if scope["type"] not in ("http", "websocket"):
        return None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if not is_own_name(host):
        return 421, f"this page is served to this machine only, not as {host!r}"
    changes = scope["type"] == "websocket" or scope["method"] not in READING
    if changes and not is_own_page(headers.get("origin"), host):
        return 403, f"a page of {headers['origin']!r} may change nothing here"
    return None
