"""Pictures of the report, of a label's story and of `ivm app` for docs/tour.md, from what `make demo` wrote.

`python docs/site/tour_pictures.py --demo demo`. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from review_pictures import CHROMIUM, FLAGS, ROOT, take

from ivm_data.apply.page import serve
from ivm_data.report.build import write_report
from ivm_data.report.story import story
from ivm_data.report.story_picture import picture, save
from ivm_model.predictor import Predictor
from storage.catalog import Catalog

VIEW = {"width": 1200, "height": 800}
DISPUTED = """
    SELECT sample_id FROM labels WHERE status = 'accepted' AND len(proposals) > 1 AND human_iou > 0.8
    ORDER BY agreement, sample_id LIMIT 1
"""
"""A label whose experts proposed different masks, and the right one won."""
ASKED = "Find the blue cross."


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="what `make demo` wrote")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if not CHROMIUM:
        sys.exit("no pictures taken: there is no Chromium on this machine; install the package 'chromium'")
    if not (options.demo / "model").is_dir():
        sys.exit(f"no pictures taken: '{options.demo}' has no model; run 'make demo', or name its folder by --demo")
    _story(options.demo / "data", options.out / "story.png")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        _report(browser, write_report(options.demo / "data", Path(scratch) / "report.html"), options.out)
        _app(browser, options.demo, options.out / "app.png")
        browser.close()


def _story(data: Path, out: Path) -> None:
    with Catalog(data) as catalog:
        (row,) = catalog.sql(DISPUTED).to_pylist()
        save(picture(catalog, story(catalog, row["sample_id"])), out)


def _report(browser: Browser, report: Path, out: Path) -> None:
    """The report's first screen, and the labels that it shows."""
    page = browser.new_page(viewport=VIEW)
    page.goto(report.resolve().as_uri())
    take(page, out / "report.png")
    page.locator(".wall").first.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('.wall').previousElementSibling.scrollIntoView()")
    take(page, out / "report-labels.png")


def _app(browser: Browser, demo: Path, out: Path) -> None:
    """The page after one question."""
    app = serve(Predictor.from_pretrained(str(demo / "model")))
    try:
        page = browser.new_page(viewport=VIEW)
        page.goto(app.local_url)
        page.locator("input[type=file]").first.set_input_files(demo / "scene.png")
        page.get_by_label("instruction").fill(ASKED)
        page.get_by_role("button", name="Mask").click()
        _until_masked(page)
        take(page, out)
    finally:
        app.close()


def _until_masked(page: Page) -> None:
    page.get_by_text("of the pixels reach").wait_for(timeout=120_000)
    page.wait_for_timeout(2000)  # The pictures of the gallery fade in.


if __name__ == "__main__":
    main()
