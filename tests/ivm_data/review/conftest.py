"""A served page over a labeled world; nothing in it is made up but the noise on the masks."""

import importlib.util
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ivm_data.review.serve import listen, server
from ivm_data.review.session import ReviewSession
from ivm_data.worlds.world import write_world
from storage.shards import write_weights

BUILDERS = Path(__file__).parents[1] / "report" / "conftest.py"
XSS = "<script>document.title='hacked'</script><img src=x onerror=alert(1)> & \\\"Find\\\""


def load_builders():
    spec = importlib.util.spec_from_file_location("report_builders", BUILDERS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(data, reviewer="anna", host="127.0.0.1"):
    """The page on a free port: its access rights and its session."""
    session = ReviewSession(data, reviewer)
    with listen(host, 0) as bound:
        running, access = server(session, bound, host)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield access, session
        running.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def labeled(tmp_path_factory):
    """36 labels; one instruction tries to be HTML. Tests must not change it."""
    root = tmp_path_factory.mktemp("labeled")
    manifest = write_world(root / "world", "test", scenes=12, pairs_per_scene=3, human_share=0.5)
    lines = manifest.read_text().splitlines()
    lines[0] = lines[0].replace('"instruction": "', f'"instruction": "{XSS}', 1)
    manifest.write_text("\n".join(lines))
    return load_builders().commit(manifest, root / "data")


@pytest.fixture
def data(labeled, tmp_path):
    """A data set of its own to write reviews into."""
    folder = tmp_path / "data"
    folder.mkdir()
    for kind in labeled.iterdir():
        (folder / kind.name).symlink_to(kind)
    return folder


@pytest.fixture
def page(data):
    """A client of the page: `get`, and `post` with what the page itself would send along."""
    with serving(data) as (access, session), httpx.Client(base_url=access.url, timeout=60) as client:
        client.headers["X-Review-Secret"] = access.secret
        client.session = session
        yield client


@pytest.fixture
def served():
    """The function that serves a data set; tests have no packages to import it from."""
    return serving


@pytest.fixture
def weigh():
    """The function that writes a discriminator's weights."""
    return write_weights
