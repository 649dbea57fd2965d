"""Who may ask the page for what: this machine alone, or any caller with the token."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from ivm_data.local_page import READING, is_loopback, is_own_name, is_own_page

MAX_BODY = 1 << 20
"""Bytes of a request; strokes of a brush are long."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer: nothing is loaded from elsewhere, shown in a frame, guessed or kept."""

_COOKIE = "ivm_review_{port}"


@dataclass(frozen=True)
class Access:
    """What a request must bring along.

    Attributes:
        token: asked of every request; "" where only this machine can connect.
        secret: asked of every request that changes something; the page holds it, and no other site can read it.
    """

    host: str
    port: int
    token: str
    secret: str = field(default_factory=secrets.token_urlsafe)

    @classmethod
    def to(cls, host: str, port: int) -> Access:
        """Without a token on loopback, with a new one anywhere else."""
        return cls(host, port, "" if is_loopback(host) else secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        """Where to point a browser, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def answer(self, request: Request) -> Response | None:
        """The answer to a request that must not reach the page; None for one that may."""
        host = request.headers.get("host", "")
        if not self.token and not is_own_name(host):
            return _refusal(421, f"this page is served to this machine only, not as {host!r}")
        if self.token and not _same(request.cookies.get(self._cookie, ""), self.token):
            return self._enter(request)
        if request.method not in READING:
            return self._check_change(request, host)
        return None

    @property
    def _cookie(self) -> str:
        return _COOKIE.format(port=self.port)

    def _enter(self, request: Request) -> Response:
        """Turn the token in the address into a cookie, so that it stays in no history."""
        if request.method != "GET" or not _same(request.query_params.get("token", ""), self.token):
            return _refusal(401, "open the address with its token, as 'ivm review' printed it")
        response = RedirectResponse("/", status_code=303, headers=HEADERS)
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="strict")
        return response

    def _check_change(self, request: Request, host: str) -> Response | None:
        origin = request.headers.get("origin")
        if not is_own_page(origin, host):
            return _refusal(403, f"a page of {origin!r} may change nothing here")
        if not _same(request.headers.get("x-review-secret", ""), self.secret):
            return _refusal(403, "the page is not of this run of 'ivm review'; load it again")
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return _refusal(413, f"a request has a length of at most {MAX_BODY} bytes, got {length or 'none'}")
        return None


def refuse_body(body: bytes) -> Response | None:
    """The answer to a body that is no JSON, or holds what cannot be kept: NaN, infinity, half a surrogate pair."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return _refusal(400, "a request is a JSON text of finite numbers and whole characters")
    return None


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


def _refusal(status: int, why: str) -> Response:
    return PlainTextResponse(why, status_code=status, headers=HEADERS)
