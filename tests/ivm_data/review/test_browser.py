"""The page in headless Chromium: keys and clicks as a person would give them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from storage import reviews
from storage.pixels import rle

CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def browser():
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


def test_a_person_reviews_with_keys_and_clicks(browser, data, served, tmp_path):
    foreign, failures = [], []
    with served(data) as (access, session):
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((access.url, "data:")) else None)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(access.url)
        first = shown(page)
        page.keyboard.press("a")
        second = shown(page, after=first)
        page.keyboard.press("z")
        assert shown(page, after=second) == first
        page.keyboard.press("w")
        fixed = shown(page, after=first)
        while not page.locator("#proposals button").count():
            page.keyboard.press("j")
            fixed = shown(page, after=fixed)
        page.keyboard.press("e")
        click_target(page, session.shown(part_of(session, fixed), fixed).label)
        page.wait_for_selector("body[data-area]:not([data-area='0'])")
        page.keyboard.press("2")
        page.keyboard.press("h")
        page.screenshot(path=tmp_path / "page.png")
        page.keyboard.press("f")
        shown(page, after=fixed)
        page.close()
    written = reviews.read((data / "reviews" / "anna").glob("*.parquet"))
    assert [(r.sample_id, r.verdict) for r in written] == [
        (first, "right"), (first, "withdrawn"), (first, "wrong_instruction"), (fixed, "wrong")
    ]  # fmt: skip
    assert rle.area(written[-1].mask) > 0
    assert not foreign and not failures and Path(tmp_path / "page.png").stat().st_size > 10_000


def test_a_hostile_instruction_is_only_text(browser, data, served):
    with served(data) as (access, session):
        hostile = next(i for i in session.queue(limit=100)["items"] if "<script>" in i["instruction"])
        for item in session.queue(limit=100)["items"]:
            if item["sample_id"] != hostile["sample_id"]:
                reviews.append(data, session.recipe, item["sample_id"], "anna", "unsure")
        page = browser.new_page()
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto(access.url)
        assert shown(page) == hostile["sample_id"]
        assert page.locator("#instruction").inner_text() == hostile["instruction"]
        assert page.title() == "Review" and page.locator("#instruction *").count() == 0
        page.close()


def shown(page, after=""):
    """The label on the page, once it is another one."""
    # Not by a function: the page's policy forbids what Playwright would evaluate.
    page.wait_for_selector(f"body[data-label]:not([data-label='{after}'])")
    return page.locator("body").get_attribute("data-label")


def part_of(session, sample_id):
    return session._part(sample_id)


def click_target(page, label):
    """Click on the pixel of the true mask that lies deepest in it."""
    box = page.locator("#image").bounding_box()
    truth_HW = rle.decode(label.sample.human_mask)
    depth_HW = cv2.distanceTransform(np.pad(truth_HW, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth_HW.argmax(), depth_HW.shape)
    height, width = truth_HW.shape
    page.mouse.click(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])
