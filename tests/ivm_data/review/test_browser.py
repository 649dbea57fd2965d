"""The page in headless Chromium: verdicts as a person would give them."""

from pathlib import Path

import pytest

from storage.pixels import rle
from storage.tables import reviews

pytestmark = pytest.mark.slow

SIZES = [(1366, 768), (1920, 1080)]


def test_a_person_reviews_with_keys_and_clicks(written, reviewing, tmp_path):
    with reviewing() as screen:
        first = screen.label
        second = screen.next_by("a")
        screen.press("z")
        assert screen.next(second) == first
        screen.next_by("w")
        screen.with_proposals()
        fixed = screen.label
        screen.press("e")
        assert screen.area() == 0
        screen.mouse.click(*screen.at(*screen.target()))
        assert screen.area(changed_from=0) > 0
        for key in ("2", "h"):
            screen.press(key)
        screen.idle()
        screen.page.screenshot(path=tmp_path / "page.png")
        screen.next_by("f")
    given = written()
    assert [(r.sample_id, r.verdict) for r in given] == [
        (first, "right"), (first, "withdrawn"), (first, "wrong_instruction"), (fixed, "wrong")
    ]  # fmt: skip
    assert rle.area(given[-1].mask) > 0 and Path(tmp_path / "page.png").stat().st_size > 10_000


def test_nothing_is_judged_before_a_picture_is_shown_and_help_does_not_wait(written, reviewing):
    with reviewing() as screen:
        first, page, held = screen.label, screen.page, []
        page.route("**/api/queue*", lambda route: held.append(route))
        page.reload()
        page.locator("#instruction", has_text="Loading").wait_for()
        for key in ("a", "a", "n"):
            screen.press(key)
        page.locator("#message-text", has_text="No picture is shown yet").wait_for()
        screen.press("?")
        page.locator("#help[open]").wait_for()
        screen.press("Escape")
        for route in held:
            route.continue_()
        page.unroute("**/api/queue*")
        assert screen.next("") == first
        screen.next_by("r")
    assert [(review.sample_id, review.verdict) for review in written()] == [(first, "wrong")]


def test_a_hostile_instruction_is_only_text(data, served, reviewing):
    with served(data) as (_, session):
        items = session.queue(limit=100)["items"]
        hostile = next(item for item in items if "<script>" in item["instruction"])
        for item in items:
            if item["sample_id"] != hostile["sample_id"]:
                reviews.append(data, session.recipe, item["sample_id"], "anna", "unsure")
    with reviewing() as screen:
        screen.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert screen.label == hostile["sample_id"]
        assert screen.page.locator("#instruction").inner_text() == hostile["instruction"]
        assert screen.page.title() == "Review" and screen.page.locator("#instruction *").count() == 0


@pytest.mark.parametrize("size", SIZES)
def test_everything_that_decides_or_repairs_is_in_sight_without_scrolling(reviewing, size):
    with reviewing(size) as screen:
        screen.with_proposals()
        for key in screen.page.locator("[data-key]:visible").all():
            box = key.bounding_box()
            inside = box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= size[0]
            assert inside and box["y"] + box["height"] <= size[1], key.inner_text()
        assert not screen.page.locator("#facts").is_visible()
        screen.press("q")
        screen.page.wait_for_selector("#facts:visible")
        box = screen.page.locator("#canvas").bounding_box()
        assert box["width"] * box["height"] > 0.6 * size[0] * size[1]


@pytest.mark.parametrize("size", SIZES)
def test_keys_that_are_pressed_faster_than_the_page_judge_one_label_each(written, reviewing, size):
    verdicts = {"a": "right", "r": "wrong", "u": "unsure", "w": "wrong_instruction"}
    keys = [key for _ in range(9) for key in verdicts]
    with reviewing(size) as screen:
        order = [item["sample_id"] for item in screen.session.queue()["items"]]
        for key in keys:
            screen.press(key)  # no pause: faster than ten a second
        screen.page.wait_for_selector("body[data-waiting='0'][data-label='']")
        assert "Nothing is left" in screen.page.locator("#instruction").inner_text()
    assert [(r.sample_id, r.verdict) for r in written()] == [
        (sample_id, verdicts[key]) for sample_id, key in zip(order, keys, strict=True)
    ]


def test_of_keys_before_the_first_label_is_there_verdicts_are_refused_and_others_wait(browser, data, served, written):
    with served(data) as (access, session):
        order = [item["sample_id"] for item in session.queue()["items"]]
        page = browser.new_page()
        page.route("**/api/queue*", lambda route: ([page.keyboard.press(key) for key in "ajrj"], route.continue_()))
        page.goto(access.url)
        page.wait_for_selector(f"body[data-waiting='0'][data-label='{order[2]}']")
        page.close()
    assert not written()


def test_a_verdict_that_is_not_saved_holds_back_the_keys_after_it(written, reviewing):
    with reviewing() as screen:
        order = [item["sample_id"] for item in screen.session.queue()["items"]]
        broken = [True]
        screen.page.route("**/review", lambda r: r.abort() if broken else r.continue_())
        for key in ("a", "u", "r"):
            screen.press(key)
        screen.page.wait_for_selector("#retry:visible")
        assert "does not answer" in screen.page.locator("#message").inner_text() and screen.label == order[0]
        broken.clear()
        screen.press("Enter")
        assert screen.next(order[2]) == order[3]
        broken.append(True)
        for key in ("a", "u"):
            screen.press(key)
        screen.page.wait_for_selector("#drop:visible")
        screen.press("Escape")
        assert screen.idle() == order[3] and not screen.page.locator("#message").is_visible()
    assert [(r.sample_id, r.verdict) for r in written()] == list(zip(order, ("right", "unsure", "wrong"), strict=False))


def test_a_segmenter_that_takes_long_to_load_holds_back_no_verdict(written, reviewing):
    with reviewing() as screen:
        with screen.session.repair._lock:  # as while its weights are read
            for _ in range(9):  # more than a browser has connections to one server
                screen.next_by("a")
                screen.page.wait_for_timeout(400)  # until it looks at this label
                screen.page.wait_for_selector("#segmenter:has-text('loading')")
        assert len(written()) == 9
        screen.page.wait_for_selector(f"body[data-looked='{screen.label}']")


def test_what_was_said_of_a_label_is_shown_on_the_way_back(reviewing):
    with reviewing() as screen:
        screen.next_by("w")
        screen.next_by("k")
        assert screen.page.locator("#said").inner_text() == "You said: wrong instruction"
        screen.press("z")
        screen.page.wait_for_selector("#said", state="hidden")


def test_nothing_and_everything_have_a_key(written, reviewing):
    with reviewing() as screen:
        screen.with_proposals()
        screen.next_by("n")
        screen.with_proposals()
        screen.next_by("i")
        while screen.page.locator("#proposals button").count():
            screen.next_by("j")
        screen.next_by("n")
    nothing, everything, agreed = written()
    assert rle.area(nothing.mask) == 0 and rle.area(everything.mask) == everything.mask.width * everything.mask.height
    assert (agreed.verdict, agreed.mask) == ("right", None)  # the label's own mask is empty


def test_the_keys_are_shown_and_the_note_is_left_by_escape(written, reviewing):
    with reviewing() as screen:
        first = screen.label
        screen.press("?")
        screen.page.wait_for_selector("#help[open]")
        shown = screen.page.locator("#help").inner_text()
        assert all(text in shown for text in ("accept", "eraser", "Ctrl Z", "crosshair", "redo"))
        screen.press("a")  # judges nothing while they are shown
        screen.press("Escape")
        screen.page.wait_for_selector("#help:not([open])", state="attached")
        screen.press("c")
        screen.page.locator("#note:focus").wait_for()
        screen.page.keyboard.type("ar?z")
        screen.press("Escape")
        screen.page.locator("#note:not(:focus)").wait_for()
        assert screen.label == first
        screen.next_by("u")
    assert [(r.verdict, r.note) for r in written()] == [("unsure", "ar?z")]


def test_a_changed_mask_is_neither_judged_nor_left_by_a_slip(written, reviewing):
    with reviewing() as screen:
        screen.with_proposals()
        label = screen.label
        screen.press("e")
        assert screen.area() == 0
        for key in ("a", "j", "n"):
            screen.press(key)
            screen.idle()
        assert screen.label == label and "F saves it" in screen.page.locator("#message").inner_text()
        screen.press("Control+z")
        assert screen.area(changed_from=0) == rle.area(screen.record().mask)
        screen.press("Control+y")
        screen.page.wait_for_selector("body[data-area='0']")
        screen.press("Escape")
        screen.area(changed_from=0)
        screen.next_by("a")
    assert [(r.sample_id, r.verdict) for r in written()] == [(label, "right")]


@pytest.mark.parametrize("size", SIZES)
def test_a_long_promise_is_read_whole_and_the_page_stays_in_the_window(reviewing, size):
    text = "1,234 more random reviews, quality from 0.93 on, before 95 of 100 labels are promised to be right"
    with reviewing(size) as screen:
        page = screen.page
        page.wait_for_selector("#promise:not(:empty)")
        page.evaluate("text => { document.querySelector('#promise').textContent = text; }", text)
        cut = "one => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1"
        assert not page.locator("#promised").evaluate(cut) and not page.locator("header").evaluate(cut)
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
