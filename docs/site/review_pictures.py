"""Pictures of the review page for docs/review.md: `python docs/site/review_pictures.py`. Needs a Chromium.

Labels a small world with the embedded experts, serves the page on a free port, and looks at it with a headless
Chromium: a label that is being repaired, and the grid. `--work` keeps the labels for another run.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.review.serve import listen, server
from ivm_data.review.session import ReviewSession
from ivm_data.worlds.world import write_world
from storage.disk.publish import whole_file
from storage.pixels import rle
from storage.records import Label

ROOT = Path(__file__).parents[2]
CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), "")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
VIEW = {"width": 1366, "height": 768}
HOST = "127.0.0.1"
REPAIRABLE = (0.3, 0.8)
"""IoU of a label's mask with the true one that makes it worth a picture of a repair."""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--work", type=Path, help="folder of the labels; a temporary one by default")
    parser.add_argument("--scenes", type=int, default=40)
    options = parser.parse_args()
    if not CHROMIUM:
        sys.exit("no pictures taken: there is no Chromium on this machine; install the package 'chromium'")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        data = labeled(options.work or Path(scratch), options.scenes)
        with served(data) as (address, session):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport=VIEW, bypass_csp=True)  # for wait_for_function
            page.goto(address)
            grid(page, options.out)
            repair(page, session, options.out)
            browser.close()


def labeled(work: Path, scenes: int) -> Path:
    """A data set; what is labeled already is kept."""
    manifest = write_world(work / "world", "test", scenes=scenes, pairs_per_scene=3, human_share=1.0)
    label_manifest(prepare(manifest, work / "data", recipe("demo", {}), part_size=64))
    shutil.rmtree(work / "data" / "reviews", ignore_errors=True)
    return work / "data"


@contextmanager
def served(data: Path) -> Iterator[tuple[str, ReviewSession]]:
    """The page's address and its session."""
    session = ReviewSession(data, "anna")
    with listen(HOST, 0) as bound:
        running, access = server(session, bound, HOST)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield access.url, session
        running.should_exit = True
        thread.join(10)


def grid(page: Page, out: Path) -> None:
    """Forty labels, after some verdicts; two are left out."""
    for _ in range(6):
        page.keyboard.press("u")
        page.wait_for_timeout(1500)
    page.keyboard.press("l")
    page.wait_for_selector("#grid:visible .tile")
    for key in ("ArrowRight", "x", "ArrowDown", "ArrowRight", "x"):
        page.keyboard.press(key)
    page.wait_for_function("() => [...document.images].every((one) => one.complete && one.naturalWidth)")
    take(page, out / "review-grid.png")
    page.keyboard.press("Escape")


def repair(page: Page, session: ReviewSession, out: Path) -> None:
    """A label whose mask is partly right, and a stroke of the brush over what it misses."""
    label = None
    while label is None:
        idle(page)
        shown = page.locator("body").get_attribute("data-label") or ""
        item = next(item for item in session.queue()["items"] if item["sample_id"] == shown)
        found = session.shown(item["part"], shown).label
        label = found if found.human_iou is not None and REPAIRABLE[0] < found.human_iou < REPAIRABLE[1] else None
        page.keyboard.press("b" if label else "j")
    idle(page)
    at = screen(page, label)
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=8)
    page.mouse.up()
    page.wait_for_selector("#segmenter:empty", state="attached", timeout=120_000)
    page.wait_for_selector("#busy", state="hidden")
    take(page, out / "review.png")


def screen(page: Page, label: Label) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where on the screen a stroke begins and ends that covers some of what the mask misses."""
    assert label.sample.human_mask is not None
    missed_HW = rle.decode(label.sample.human_mask) & ~rle.decode(label.mask)
    depth_HW = cv2.distanceTransform(np.pad(missed_HW, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    deep_N2 = np.argwhere(depth_HW > 0.6 * depth_HW.max())[:, ::-1] + 0.5
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    height, width = missed_HW.shape
    scale = min((box["width"] - 20) / width, (box["height"] - 20) / height)
    left, top = box["x"] + (box["width"] - width * scale) / 2, box["y"] + (box["height"] - height * scale) / 2
    (x0, y0), (x1, y1) = deep_N2[0] * scale, deep_N2[-1] * scale
    return (left + x0, top + y0), (left + x1, top + y1)


def idle(page: Page) -> None:
    """Until no key waits."""
    page.wait_for_selector("body[data-waiting='0']")


def take(page: Page, path: Path) -> None:
    """A picture of what the window shows."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256)
    with whole_file(path) as part:
        picture.save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
