"""The two pages, asked without a server: a request is an ASGI scope, so that headers may hold any bytes."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

from readers import labeled
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ivm_data.local_page import OnlyThisMachine
from ivm_data.review.access import Access
from ivm_data.review.app import create_app
from ivm_data.review.session import ReviewSession
from storage.tables import reviews

HERE = b"127.0.0.1:7860"
OWN = ("127.0.0.1", "localhost", "[::1]")


def ask(app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> int:
    """The status of the answer; whatever the application raises comes out here."""
    seen: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return seen[0]


@cache
def review(folder: Path) -> tuple[Any, Access, str]:
    """The page over a small data set, what it asks of a request, and the path of one label."""
    access = Access("127.0.0.1", 7860, "")
    session = ReviewSession(labeled(folder), "anna")
    item = session.queue()["items"][0]
    return create_app(session, access), access, f"/api/labels/{item['part']}/{item['sample_id']}"


def review_body(asked: tuple[str, bytes], folder: Path) -> None:
    """A POST with the page's own secret: what is refused has written nothing, what is written can be read."""
    end, body = asked
    app, access, label = review(folder)
    headers = [(b"host", HERE), (b"content-type", b"application/json"), (b"x-review-secret", access.secret.encode())]
    headers.append((b"content-length", str(len(body)).encode()))
    before = opinions(folder)
    status = ask(app, "POST", f"{label}{end}" if end.startswith("/") else f"/api/{end}", headers, body)
    after = opinions(folder)
    assert status < 500
    assert len(after) == len(before) or status == 200
    json.dumps([review.note for review in after], allow_nan=False).encode()


def opinions(folder: Path) -> list[Any]:
    return reviews.read((labeled(folder) / "reviews" / "anna").glob("*.parquet"))


def review_headers(asked: tuple[str, bytes, bytes | None, bytes], folder: Path) -> None:
    """Only a request by this machine's own name, from the page itself, with its secret changes something."""
    method, host, origin, secret = asked
    app, access, label = review(folder)
    headers = [(b"host", host), (b"content-length", b"2"), (b"x-review-secret", secret)]
    headers += [] if origin is None else [(b"origin", origin)]
    status = ask(app, method, "/api/undo" if method == "POST" else label, headers, b"{}")
    assert status < 500
    if status == 200:
        assert is_own(host) and (method == "GET" or secret.decode("latin-1") == access.secret)


@cache
def app() -> Any:
    """A page behind the guard of `ivm app`."""
    page = Starlette(routes=[Route("/", lambda _: PlainTextResponse("the page"), methods=["GET", "POST"])])
    return OnlyThisMachine(page)


def app_headers(asked: tuple[str, bytes, bytes | None], folder: Path) -> None:
    """As `review_headers`, without a secret."""
    method, host, origin = asked
    headers = [(b"host", host), *([] if origin is None else [(b"origin", origin)])]
    status = ask(app(), method, "/", headers)
    assert status in (200, 403, 421)
    if status == 200:
        assert is_own(host)
        assert method == "GET" or origin is None or origin.partition(b"//")[2].partition(b"/")[0] == host


def is_own(host: bytes) -> bool:
    """By what a browser takes for the name: all before the port."""
    text = host.decode("latin-1").strip().lower()
    return any(text == name or text.startswith(f"{name}:") for name in OWN) or "@" in text
