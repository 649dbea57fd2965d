"""The grid, the filters and the progress in headless Chromium."""

import pytest

from storage.tables import reviews

pytestmark = pytest.mark.slow

SIZES = [(1366, 768), (1920, 1080)]


def ids(screen):
    return [item["sample_id"] for item in screen.session.queue()["items"]]


def opened(screen):
    """Press the key of the grid and wait for its tiles."""
    screen.press("l")
    screen.page.wait_for_selector("#grid:visible .tile")
    screen.idle()


@pytest.mark.parametrize("size", SIZES)
def test_forty_labels_are_in_sight_and_accepted_by_keys_but_for_those_left_out(many, reviewing, written, size):
    with reviewing(size, of=many) as screen:
        order = ids(screen)
        opened(screen)
        tiles = screen.page.locator(".tile").all()
        boxes = [tile.bounding_box() for tile in tiles]
        assert len(boxes) == 40
        assert all(box["x"] + box["width"] <= size[0] and box["y"] + box["height"] <= size[1] for box in boxes)
        for key in ("ArrowRight", "x", "ArrowDown", "Space", "ArrowLeft"):  # leaves out the 2nd and the 12th
            screen.press(key)
        screen.page.wait_for_selector("#accept-count:text('accept 38')")
        screen.press("Enter")
        screen.page.wait_for_selector("#accept-count:text('accept 20')")
        given = [r.sample_id for r in written(many)]
        assert given == [order[i] for i in range(40) if i not in (1, 11)]
        screen.press("Escape")
        screen.page.wait_for_selector(f"main:visible >> xpath=/ancestor::body[@data-label='{order[1]}']")
        screen.next_by("r")
        assert screen.label == order[11]
    assert {r.verdict for r in written(many)} == {"right", "wrong"}


def test_a_grid_is_used_by_mouse_and_undone_as_a_whole(many, reviewing, written):
    with reviewing(of=many) as screen:
        order = ids(screen)
        opened(screen)
        screen.page.locator(".tile").nth(3).click()
        screen.page.locator("#accept-all").click()
        screen.page.wait_for_selector("#accept-count:text('accept 20')")
        screen.press("Control+z")
        screen.page.wait_for_selector("#progress:text('0 of 60')")
        screen.page.wait_for_selector("#accept-count:text('accept 40')")
        screen.idle()
        screen.press("g")
        screen.page.wait_for_selector("#accept-all:disabled")
        for key in ("g", "ArrowDown", "o"):
            screen.press(key)
        screen.page.wait_for_selector("main:visible")
        assert screen.idle() == order[10]
    assert len(written(many)) == 2 * 39 and not reviews.current(written(many))


def test_a_picture_that_is_not_there_is_not_accepted(many, reviewing, written):
    with reviewing(of=many) as screen:
        screen.page.route(f"**/{ids(screen)[5]}/thumb.jpg", lambda route: route.abort())
        opened(screen)
        screen.press("a")
        screen.page.wait_for_selector("#retry:visible")
        assert "nothing is accepted" in screen.page.locator("#message").inner_text()
        screen.press("Escape")
        screen.idle()
    assert not (many / "reviews").exists()


def test_an_sql_condition_filters_the_page_and_a_wrong_one_is_explained(reviewing):
    with reviewing() as screen:
        chosen = [item["sample_id"] for item in screen.session.queue("quality > 0.6")["items"]]
        screen.press("/")
        screen.page.locator("#where:focus").wait_for()
        screen.page.keyboard.type("quality > 0.6")
        screen.press("Enter")
        screen.page.wait_for_selector(f"#place:text('of {len(chosen)}')")
        assert screen.idle() == chosen[0]
        assert "quality > 0.6" in screen.page.locator("#filter-summary").inner_text()
        screen.press("/")
        assert screen.page.locator("#not-random").is_visible()
        screen.page.locator("#where").fill("quality >")
        screen.press("Enter")
        screen.page.wait_for_selector("#message:has-text('one SQL expression')")
        screen.press("Escape")
        screen.press("/")
        screen.page.locator("#where").fill("")
        screen.press("Enter")
        screen.page.wait_for_selector("#place:text('of 36')")
        assert not screen.page.locator("#filter-form").is_visible()


def test_progress_pace_and_what_a_promise_needs_are_shown(reviewing):
    with reviewing() as screen:
        screen.page.wait_for_selector("#promise:not(:empty)")
        needs = screen.session.promise_needs(0.95)["text"]
        assert screen.page.locator("#promise").inner_text() == needs
        for _ in range(4):
            screen.next_by("a")
        assert screen.page.locator("#progress").inner_text() == "4 of 36 reviewed"
        assert "each" in screen.page.locator("#pace").inner_text()
        screen.page.locator("#precision").select_option("0.9")
        screen.page.wait_for_selector(f"#promise:text-is('{screen.session.promise_needs(0.9)['text']}')")
