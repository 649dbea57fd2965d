"""Sixty labels in headless Chromium, as a person does them: keys alone, and masks repaired on the way."""

import pytest

from storage.pixels import rle
from storage.tables import reviews

VERDICTS = {"a": "right", "r": "wrong", "u": "unsure", "w": "wrong_instruction"}
SIZES = [(1366, 768), (1920, 1080)]
pytestmark = pytest.mark.slow
PRESS = 100
"""ms from one key to the next: ten a second."""


@pytest.mark.parametrize("size", SIZES)
def test_sixty_labels_are_judged_by_keys_alone_at_ten_a_second_and_none_is_lost(many, reviewing, written, size):
    keys = [list(VERDICTS)[i % 4] for i in range(60)]
    with reviewing(size, of=many) as screen:
        order = [item["sample_id"] for item in screen.session.queue()["items"]]
        for key in keys:
            screen.press(key)
            screen.page.wait_for_timeout(PRESS)
        screen.page.wait_for_selector("body[data-waiting='0'][data-label='']")
        assert screen.page.locator("#progress").inner_text() == "60 of 60 reviewed"
    expected = [(sample_id, VERDICTS[key]) for sample_id, key in zip(order, keys, strict=True)]
    assert [(r.sample_id, r.verdict) for r in written(many)] == expected


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_repaired_by_brush_and_clicks_among_sixty_fast_verdicts(many, reviewing, written, size):
    """Every sixth label is fixed from nothing: by the segmenter's clicks, then by a brush."""
    fixed = {}
    with reviewing(size, of=many) as screen:
        order = [item["sample_id"] for item in screen.session.queue()["items"]]
        for number, sample_id in enumerate(order):
            if number % 6 or not screen_shows_a_mask(screen, sample_id):
                screen.press("a")
                continue
            screen.press("e")
            screen.page.wait_for_selector(f"body[data-label='{sample_id}'][data-area='0']")
            tool = "s" if len(fixed) % 2 else "b"
            screen.press(tool)
            screen.idle()
            screen.mouse.click(*screen.at(*screen.target()))
            fixed[sample_id] = (tool, screen.area(changed_from=0))
            screen.press("f")
        screen.page.wait_for_selector("body[data-waiting='0'][data-label='']")
    given = reviews.current(written(many))
    assert sorted(r.sample_id for r in given) == sorted(order)
    saved = {r.sample_id: rle.area(r.mask) for r in given if r.mask is not None}
    assert saved == {sample_id: area for sample_id, (_, area) in fixed.items()}
    assert {tool for tool, _ in fixed.values()} == {"s", "b"} and len(fixed) >= 6


def screen_shows_a_mask(screen, sample_id):
    """Once the label is shown, whether something is meant in it."""
    screen.page.wait_for_selector(f"body[data-label='{sample_id}'][data-waiting='0']")
    return rle.area(screen.record().sample.human_mask) > 0
