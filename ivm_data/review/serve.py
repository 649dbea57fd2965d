"""Serving the page: a socket, then uvicorn until it is interrupted."""

from __future__ import annotations

import socket

import uvicorn

from ivm_data.review.access import Access
from ivm_data.review.app import create_app
from ivm_data.review.session import ReviewSession
from storage.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one.

    Raises:
        ConfigError: the address is taken, or not of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot serve on {host}:{port} ({error}); '--port 0' takes a free one") from error


def server(session: ReviewSession, bound: socket.socket, host: str) -> tuple[uvicorn.Server, Access]:
    """A server to run with `sockets=[bound]`, and how to reach it."""
    access = Access.to(host, bound.getsockname()[1])
    # No access log: addresses hold the token.
    config = uvicorn.Config(create_app(session, access), log_level="warning", access_log=False, server_header=False)
    return uvicorn.Server(config), access
