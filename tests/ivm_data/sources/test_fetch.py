"""URLs, fetched from a real server on loopback, which no manifest may reach unless it is allowed."""

import datetime
import io
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from ivm_data.sources.download import _addresses, _is_public, _tls
from ivm_data.sources.fetch import OUTAGE, FetchConfig, Fetcher
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError, InputError, TransientError
from storage.records import Rejection, Sample


def _png():
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(file, "PNG")
    return file.getvalue()


PNG = _png()


class Server:
    """Serves an image at every path but these."""

    def __init__(self):
        self.asked, self.busy = [], 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append((self.path, self.headers["host"]))
                path = self.path.partition("?")[0]
                if path == "/busy" and server.busy > 0:
                    server.busy -= 1
                    self.send(503)
                elif path == "/moved":
                    self.send(302, location=self.path.partition("?")[2] or "/a.png")
                elif path == "/drip":
                    self.drip()
                elif path == "/headers":
                    self.drip(b"HTTP/1.1 200 OK\r\nx: ")
                elif path == "/packed":
                    self.send(200, PNG, **{"content-encoding": "gzip"})
                else:
                    self.send({"/gone": 404, "/down": 500}.get(path, 200), PNG)

            def send(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def drip(self, begin=b"HTTP/1.1 200 OK\r\n\r\n"):
                try:
                    self.wfile.write(begin)
                    while not server.ended.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.ended = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def fetcher(tmp_path):
    def fetcher(**options):
        defaults = {"cache": str(tmp_path / "cache"), "allow_private": True, "attempts": 1}
        return Fetcher(FetchConfig(**(defaults | options)))

    return fetcher


def refusal(fetcher, url):
    with pytest.raises(InputError) as caught:
        fetcher.fetch(url, 1 << 20)
    return str(caught.value)


def test_a_file_is_fetched_once_and_then_read_from_the_cache(server, fetcher):
    url = f"{server.url}/a.png?size=large"
    assert fetcher().fetch(url, 1 << 20) == PNG
    again = fetcher()
    again.fetch_all([url], 1 << 20)
    assert again.fetch(url, 1 << 20) == PNG
    assert server.asked == [("/a.png?size=large", f"127.0.0.1:{server.port}")]


def test_a_host_is_asked_by_its_name_at_the_address_that_was_checked(server, fetcher):
    assert fetcher().fetch(f"http://localhost:{server.port}/a.png", 1 << 20) == PNG
    assert server.asked[0][1] == f"localhost:{server.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0"])
def test_loopback_is_refused_however_it_is_written(server, fetcher, host):
    said = refusal(fetcher(allow_private=False), f"http://{host}:{server.port}/a.png")
    assert said.startswith("image_not_fetched") and "no public address" in said
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "64:ff9b::a00:1", "2002:a00:1::", "::ffff:10.0.0.1"),
    ],
)
def test_addresses_that_are_not_public_are_known(address):
    assert not _is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_known(address):
    assert _is_public(address)
    assert _addresses(address.removeprefix("::ffff:"), 80, allow_private=False)


def test_redirects_are_followed_and_each_host_is_checked(server, fetcher):
    assert fetcher().fetch(f"{server.url}/moved", 1 << 20) == PNG
    assert [path for path, _ in server.asked] == ["/moved", "/a.png"]
    assert "more than 2 redirects" in refusal(fetcher(redirects=2), f"{server.url}/moved?/moved?/moved?/moved")
    assert "need http or https" in refusal(fetcher(), f"{server.url}/moved?file:///etc/passwd")


@pytest.mark.parametrize(
    ("path", "message"),
    [("gone", "answered 404"), ("down", "answered 500, 1 attempts"), ("packed", "compressed answer")],
)
def test_an_answer_that_is_no_file_is_reported(server, fetcher, path, message):
    assert message in refusal(fetcher(), f"{server.url}/{path}")


@pytest.mark.parametrize("url", ["http://", "http://user:word@127.0.0.1/a", f"http://{'a' * 70}/", "http://[::/"])
def test_a_url_that_leads_nowhere_is_reported(fetcher, url):
    assert refusal(fetcher(), url).startswith("image_not_fetched")


def test_a_failure_in_passing_is_tried_again(server, fetcher):
    server.busy = 1
    assert fetcher(attempts=2).fetch(f"{server.url}/busy", 1 << 20) == PNG


@pytest.mark.parametrize("path", ["drip", "headers"])
def test_a_server_that_drips_is_left_after_the_time_limit(server, fetcher, path):
    began = time.monotonic()
    assert "no whole answer within 0.4 s" in refusal(fetcher(timeout_s=0.4), f"{server.url}/{path}")
    assert time.monotonic() - began < 5


def test_more_bytes_than_the_limit_are_not_read(server, fetcher):
    assert refusal(fetcher(max_bytes=len(PNG) - 1), f"{server.url}/a.png").startswith("image_too_large")
    assert fetcher(max_bytes=len(PNG)).fetch(f"{server.url}/a.png", 1 << 20) == PNG
    with pytest.raises(InputError, match="image_too_large"):
        fetcher().fetch(f"{server.url}/a.png", 10)


def test_a_part_of_which_nothing_can_be_fetched_waits_for_the_network(server, fetcher):
    urls = [f"{server.url}/down?{number}" for number in range(OUTAGE)]
    with pytest.raises(TransientError, match=f"none of {OUTAGE} URLs could be fetched.*answered 500"):
        fetcher().fetch_all(urls, 1 << 20)
    fetcher().fetch_all([*urls, f"{server.url}/a.png"], 1 << 20)


def test_images_of_a_manifest_are_fetched_together_and_failures_are_rejections(server, tmp_path):
    names = ["a.png", "b.png", "gone"]
    lines = [json.dumps({"image": f"{server.url}/{name}", "instruction": "Look."}) for name in names]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    (part,) = plan(tmp_path / "m.jsonl")
    closed = read_part(part)
    assert [one.reason for one in closed] == ["image_not_fetched"] * 3 and "--fetch" in closed[0].detail
    for _ in range(2):
        config = FetchConfig(cache=str(tmp_path / "cache"), allow_private=True, attempts=1)
        first, same, gone = read_part(part, fetch=config)
        assert isinstance(first, Sample) and first.image == PNG
        assert isinstance(same, Rejection) and same.reason == "duplicate"
        assert gone.reason == "image_not_fetched" and "answered 404" in gone.detail
    assert sorted(path for path, _ in server.asked) == ["/a.png", "/b.png", "/gone", "/gone"]


def test_a_closed_port_is_reported(fetcher):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "no connection" in refusal(fetcher(), f"http://127.0.0.1:{unused.getsockname()[1]}/a.png")


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """A TLS context for `localhost`, whose certificate this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    _tls.cache_clear()
    yield context
    _tls.cache_clear()


def test_a_certificate_is_checked_for_the_host_and_not_for_its_address(server, fetcher, certified):
    server.http.socket = certified.wrap_socket(server.http.socket, server_side=True)
    assert fetcher().fetch(f"https://localhost:{server.port}/a.png", 1 << 20) == PNG
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(fetcher(), f"https://127.0.0.1:{server.port}/a.png")


@pytest.mark.parametrize("options", [{"attempts": 0}, {"timeout_s": 0}, {"redirects": -1}])
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        FetchConfig(**options)
