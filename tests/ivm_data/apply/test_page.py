"""The page in a real browser that may talk to nobody but this machine."""

import shutil

import httpx
import numpy as np
import pytest
from PIL import Image

from ivm_data.apply.page import heat, serve, views
from ivm_model.how import HOWS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class RightHalf:
    """Stands where the model does: the heatmap rises from left to right, and each question is counted."""

    def __init__(self):
        self.asked = []

    def unknown_words(self, instruction):
        return []

    def heatmap(self, image_HWC, instruction):
        self.asked.append(instruction)
        height, width = image_HWC.shape[:2]
        return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def test_every_way_to_mask_is_shown_and_a_threshold_that_nothing_reaches_says_so():
    image_HWC = np.full((20, 30, 3), 90, np.uint8)
    heatmap_HW = np.tile(np.linspace(0, 0.6, 30, dtype=np.float32), (20, 1))
    shown, caption = views(image_HWC, heatmap_HW, 0.5)
    assert [how for _, how in shown] == list(HOWS) and caption.startswith("16.7%")
    assert "Nothing is found" in views(image_HWC, heatmap_HW, 0.7)[1]
    assert heat(image_HWC, heatmap_HW).shape == image_HWC.shape


@pytest.mark.slow
def test_the_page_answers_this_machine_only_under_its_own_name_and_to_its_own_page():
    page = serve(RightHalf())
    try:
        with httpx.Client(base_url=page.local_url, timeout=60) as client:
            assert client.get("/").status_code == 200
            assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
            asked = "/gradio_api/queue/join"
            assert client.post(asked, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
            assert client.post(asked, json={}, headers={"Host": "evil.example"}).status_code == 421
            own = page.local_url.rstrip("/")
            assert client.post(asked, json={}, headers={"Origin": own}).status_code not in (403, 421)
    finally:
        page.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_the_page_masks_an_image_asks_nobody_else_and_the_slider_masks_anew(tmp_path):
    from playwright.sync_api import expect, sync_playwright

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "i.png")
    predictor, asked = RightHalf(), []
    page = serve(predictor)
    try:
        assert page.local_url.startswith("http://127.0.0.1:")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            tab = browser.new_page()
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(page.local_url)
            tab.set_input_files("input[type=file]", tmp_path / "i.png")
            tab.get_by_label("instruction").fill("Find the ring.")
            tab.get_by_role("button", name="Mask", exact=True).click()
            expect(tab.get_by_text("50.0% of the pixels reach 0.5")).to_be_visible(timeout=20_000)
            expect(tab.get_by_role("img").nth(2)).to_be_visible()
            tab.get_by_role("slider").press("End")
            expect(tab.get_by_text("5.0% of the pixels reach 0.95")).to_be_visible(timeout=20_000)
            browser.close()
    finally:
        page.close()
    assert predictor.asked == ["Find the ring."]
    assert [url for url in asked if not url.startswith((page.local_url, "data:", "blob:"))] == []
