import socket

import httpx
import pytest

from ivm_data.local_page import is_loopback
from ivm_data.review.access import Access
from ivm_data.review.serve import listen
from storage.errors import ConfigError


def test_only_addresses_of_this_machine_need_no_token():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.0.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "example.org")))
    assert not Access.to("127.0.0.1", 1).token
    assert len(Access.to("0.0.0.0", 1).token) >= 32 and "token=" in Access.to("0.0.0.0", 1).url


def test_any_other_host_needs_the_token_once_and_then_its_cookie(data, served):
    with served(data, host="0.0.0.0") as (access, _):
        base = f"http://127.0.0.1:{access.port}"
        for path in ("/", "/api/queue", "/page/main.js", "/?token=", f"/?token={access.token[:-1]}"):
            assert httpx.get(base + path, timeout=60).status_code == 401
        with httpx.Client(base_url=base, timeout=60) as client:
            entered = client.get("/", params={"token": access.token})
            assert entered.status_code == 303 and entered.headers["location"] == "/"
            cookie = entered.headers["set-cookie"].lower()
            assert "httponly" in cookie and "samesite=strict" in cookie
            assert client.get("/api/queue").status_code == 200
            assert client.post("/api/undo", json={}).status_code == 403


def test_what_changes_something_needs_the_pages_secret_and_origin(page, data):
    item = page.get("/api/queue").json()["items"][0]
    address, right = f"/api/labels/{item['part']}/{item['sample_id']}/review", {"verdict": "right"}
    assert page.post(address, json=right, headers={"X-Review-Secret": "guess"}).status_code == 403
    assert page.post(address, json=right, headers={"Origin": "https://evil.example"}).status_code == 403
    assert page.post(address, json=right, headers={"Origin": "null"}).status_code == 403
    assert not (data / "reviews").exists()
    own = str(page.base_url).rstrip("/")
    assert page.post(address, json=right, headers={"Origin": own}).status_code == 200


def test_a_foreign_name_that_points_to_this_machine_is_refused(page):
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert page.get("/", headers={"Host": f"localhost:{page.base_url.port}"}).status_code == 200


def test_a_long_request_is_refused_before_it_is_read(page):
    assert page.post("/api/undo", content=b"x" * 2_000_000).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page/..%2f..%2fsession.py",
        "/page/session.py",
        "/page/review.html",
        "/api/labels/..%2f..%2f..%2fetc/passwd",
        "/api/labels/part-00000/..%2fx/image.jpg",
        "/api/labels/.hidden/00/image.jpg",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_file_is_served_by_its_path(page, path):
    # httpx would tidy the path up; a raw request does not.
    with socket.create_connection(("127.0.0.1", page.base_url.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b"")).decode()
    assert answer.split()[1] in ("404", "422") and "root:" not in answer and "import " not in answer


def test_unknown_labels_are_reported_in_words(page):
    part = page.get("/api/queue").json()["items"][0]["part"]
    assert "has no label" in page.get(f"/api/labels/{part}/{'0' * 32}").json()["detail"]
    assert page.get(f"/api/labels/no-such-part/{'0' * 32}").status_code == 422


def test_every_answer_forbids_frames_foreign_content_and_guessing(page):
    for path in ("/", "/page/main.js", "/api/queue", "/nowhere"):
        headers = page.get(path).headers
        assert (
            headers["x-content-type-options"] == "nosniff"
            and "default-src 'none'" in headers["content-security-policy"]
        )
        assert headers["x-frame-options"] == "DENY"


def test_a_taken_port_is_a_clear_error():
    with listen("127.0.0.1", 0) as bound, pytest.raises(ConfigError, match="'--port 0' takes a free one"):
        listen("127.0.0.1", bound.getsockname()[1])


@pytest.mark.parametrize(
    "host", ["[", "[::1", "", "127.0.0.1.evil.example", "evil.example#127.0.0.1", "localhost@evil.example"]
)
def test_a_host_that_is_no_name_of_this_machine_is_refused_and_never_an_error(page, host):
    assert page.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://[", "null", "", "http://127.0.0.1", "https://evil.example:1"])
def test_an_origin_that_is_no_page_of_ours_changes_nothing(page, data, origin):
    assert page.post("/api/undo", json={}, headers={"Origin": origin}).status_code == 403
    assert not (data / "reviews").exists()
