"""A served page over a labeled world; nothing in it is made up but the noise on the masks."""

import importlib.util
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from ivm_data.review.serve import listen, server
from ivm_data.review.session import ReviewSession
from ivm_data.worlds.world import write_world
from storage.parts.shards import write_weights
from storage.pixels import rle
from storage.tables import reviews

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


def make_labels(root, scenes, human_share):
    """Three labels a scene; one instruction tries to be HTML."""
    manifest = write_world(root / "world", "test", scenes=scenes, pairs_per_scene=3, human_share=human_share)
    lines = manifest.read_text().splitlines()
    lines[0] = lines[0].replace('"instruction": "', f'"instruction": "{XSS}', 1)
    manifest.write_text("\n".join(lines))
    return load_builders().commit(manifest, root / "data")


def own(labels, folder):
    """A data set of its own to write reviews into."""
    folder.mkdir()
    for kind in labels.iterdir():
        (folder / kind.name).symlink_to(kind)
    return folder


@pytest.fixture(scope="session")
def labeled(tmp_path_factory):
    """36 labels. Tests must not change them."""
    return make_labels(tmp_path_factory.mktemp("labeled"), scenes=12, human_share=0.5)


@pytest.fixture
def data(labeled, tmp_path):
    """36 labels to review."""
    return own(labeled, tmp_path / "data")


@pytest.fixture(scope="session")
def sixty(tmp_path_factory):
    """60 labels with a true mask each. Tests must not change them."""
    return make_labels(tmp_path_factory.mktemp("sixty"), scenes=20, human_share=1.0)


@pytest.fixture
def many(sixty, tmp_path):
    """60 labels to review."""
    return own(sixty, tmp_path / "many")


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


CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 180_000
"""ms after which what a test waits for will not come: a busy machine takes long."""
MARGIN = 10
"""Of the page's own: pixels of the screen around an image that is shown as a whole."""


# Not for the whole session: while Playwright runs, no other test can run an event loop.
@pytest.fixture(scope="module")
def browser():
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no Chromium at {CHROMIUM}; install the package 'chromium'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


class Screen:
    """The page on a screen, and what of it a test asks for again and again.

    Nothing is asked by a function: the page's policy forbids what Playwright would evaluate.
    """

    def __init__(self, page, session):
        self.page, self.session = page, session
        self.press, self.mouse = page.keyboard.press, page.mouse

    @property
    def label(self):
        return self.page.locator("body").get_attribute("data-label")

    def idle(self):
        """Until no key waits; gives the label that is then shown."""
        self.page.wait_for_selector("body[data-label][data-waiting='0']")
        return self.label

    def next(self, after):
        self.page.wait_for_selector(f"body[data-label][data-waiting='0']:not([data-label='{after}'])")
        return self.label

    def record(self):
        """What the data set has of the label that is shown."""
        return self.session.shown(self.session._part(self.label), self.label).label

    def with_proposals(self):
        """Go on to a label that has a mask."""
        while not self.page.locator("#proposals button").count():
            self.next_by("j")

    def next_by(self, key):
        before = self.idle()
        self.press(key)
        return self.next(before)

    def target(self):
        """(x, y) of the pixel that lies deepest in the true mask."""
        mask_HW = rle.decode(self.record().sample.human_mask)
        depth_HW = cv2.distanceTransform(np.pad(mask_HW, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(depth_HW.argmax(), depth_HW.shape)
        return x + 0.5, y + 0.5

    def scale(self):
        """Pixels of the screen for one of the image, shown as a whole."""
        box, mask = self.page.locator("#canvas").bounding_box(), self.record().mask
        return min((box["width"] - 2 * MARGIN) / mask.width, (box["height"] - 2 * MARGIN) / mask.height)

    def at(self, x, y):
        """Where on the screen a place in the image lies, shown as a whole."""
        box, mask, scale = self.page.locator("#canvas").bounding_box(), self.record().mask, self.scale()
        left, top = box["width"] / 2 - mask.width * scale / 2, box["height"] / 2 - mask.height * scale / 2
        return box["x"] + left + x * scale, box["y"] + top + y * scale

    def area(self, changed_from=None):
        """Pixels of the repaired mask, once it is another one."""
        other = "" if changed_from is None else f":not([data-area='{changed_from}'])"
        self.page.wait_for_selector(f"body[data-area]{other}")
        return int(self.page.locator("body").get_attribute("data-area"))


@contextmanager
def on_screen(browser, data, size=(1366, 768), **options):
    """The page, served and opened; it must load nothing foreign and raise nothing."""
    foreign, failures = [], []
    with serving(data) as (access, session):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((access.url, "data:")) else None)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(access.url)
        screen = Screen(page, session)
        screen.idle()
        yield screen
        page.close()
    assert not foreign and not failures


@pytest.fixture
def reviewing(browser, data):
    """The function that opens the page of a data set on a screen."""
    return lambda size=(1366, 768), of=data, **options: on_screen(browser, of, size, **options)


@pytest.fixture
def written(data):
    """The function that reads what was said of a data set."""
    return lambda data=data: reviews.read((data / "reviews" / "anna").glob("*.parquet"))
