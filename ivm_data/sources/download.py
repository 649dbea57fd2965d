"""One URL -> its file, from public addresses only, within limits of size and time.

A manifest comes from outside, so its URLs may ask this machine for what only this machine can reach. Of every host,
also of those that a redirect names, the addresses are looked up once and checked, and the connection goes to the
checked address itself: a name that answers differently the next time changes nothing. Proxies are not used.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from functools import cache
from typing import Any

from ivm_data.deadline import Deadline
from storage.errors import InputError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class RefusedError(Exception):
    """This URL gives no file, now or later."""


class FailedError(Exception):
    """This attempt gave no file; another may."""


def download(url: str, max_bytes: int, timeout_s: float, redirects: int, allow_private: bool) -> bytes:
    """The file behind a URL; redirects are followed by hand, so that each host is checked.

    Raises:
        RefusedError, FailedError: there is none.
        InputError: `image_too_large`.
    """
    import httpx

    for _ in range(redirects + 1):
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedError(f"no URL: {error}") from error
        if target.scheme not in ("http", "https") or not target.host or target.userinfo:
            raise RefusedError(
                f"'{target.scheme}' with host {target.host!r}: need http or https, a host, and no password"
            )
        answer = _first_answer(target, max_bytes, timeout_s, allow_private)
        if isinstance(answer, bytes):
            return answer
        try:
            url = str(target.join(answer))
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedError(f"redirected to no URL: {answer[:80]!r}") from error
    raise RefusedError(f"more than {redirects} redirects")


def _first_answer(url: Any, max_bytes: int, timeout_s: float, allow_private: bool) -> bytes | str:
    """The file, or where a redirect leads, from the first of the host's addresses that takes a connection."""
    import httpx

    problem = ""
    for address in _addresses(url.host, url.port or (443 if url.scheme == "https" else 80), allow_private):
        try:
            return _get(url, address, max_bytes, timeout_s)
        except httpx.ConnectError as error:
            problem = f"no connection to {url.host!r}: {error}"
        except httpx.HTTPError as error:
            raise FailedError(f"{type(error).__name__}: {error}") from error
    raise FailedError(problem)


def _addresses(host: str, port: int, allow_private: bool) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FailedError(f"the host {host!r} is not known: {error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not allow_private and not _is_public(address):
            raise RefusedError(f"{host!r} is at {address}, which is no public address; allow_private=true fetches it")
    return addresses


def _is_public(text: str) -> bool:
    """Global unicast; an IPv6 address that carries an IPv4 one is judged by that, and tunnels are not public."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        elif address in _NAT64 or address.sixtofour or address.teredo or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def _get(url: Any, address: str, max_bytes: int, timeout_s: float) -> bytes | str:
    """One request to one address; the host's name goes into the Host header and the TLS handshake, as for any GET."""
    import httpx

    deadline = Deadline(timeout_s, FailedError(f"no whole answer within {timeout_s:g} s"))
    request = httpx.Request(
        "GET",
        url.copy_with(host=address),
        headers={"Host": url.netloc.decode(), "Accept-Encoding": "identity", "User-Agent": "ivm-engine"},
        extensions={
            "sni_hostname": url.raw_host.decode(),
            "timeout": httpx.Timeout(timeout_s).as_dict(),
            "trace": deadline.trace,
        },
    )
    with deadline, httpx.HTTPTransport(verify=_tls(), trust_env=False) as transport:
        response = transport.handle_request(request)
        try:
            return _read(response, max_bytes)
        finally:
            response.close()


@cache
def _tls() -> ssl.SSLContext:
    """The usual certificates, or those of SSL_CERT_FILE."""
    import httpx

    return httpx.create_ssl_context()


def _read(response: Any, max_bytes: int) -> bytes | str:
    if response.has_redirect_location:
        return str(response.headers["location"])
    if response.status_code != 200:
        kind = FailedError if response.status_code in _TRY_AGAIN else RefusedError
        raise kind(f"the server answered {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError("the server sent a compressed answer that was not asked for")
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > max_bytes:
            raise InputError("image_too_large", f"the URL gives more than {max_bytes} bytes")
    return bytes(data)
