"""Masks that are repaired on the page in headless Chromium: by clicks, strokes, corners, keys and fingers."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from ivm_data.review.colours import distinct
from storage.pixels import rle
from storage.pixels.images import decode

pytestmark = pytest.mark.slow


def empty(screen):
    """A label with a mask, to be fixed from nothing."""
    screen.with_proposals()
    screen.press("e")
    assert screen.area() == 0


def saved(screen, written):
    """The mask that is saved, HW bool."""
    screen.next_by("f")
    return rle.decode(written()[-1].mask)


def zoom(screen):
    return int(screen.page.locator("#zoom").inner_text().split()[0])


def disc(size_hw, place, radius):
    y_HW, x_HW = np.indices(size_hw) + 0.5
    return np.hypot(x_HW - place[0], y_HW - place[1]) <= radius


def overlap(first_HW, second_HW):
    return (first_HW & second_HW).sum() / max(1, (first_HW | second_HW).sum())


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_brush_and_eraser_paint_the_pixels_under_the_pointer(reviewing, written, size):
    with reviewing(size) as screen:
        empty(screen)
        place = (64.0, 64.0)
        for key in ["b", *("]" * 8)]:
            screen.press(key)
        screen.idle()
        radius = 14 * 1.25**8 / screen.scale()
        screen.mouse.click(*screen.at(*place))
        painted = screen.area(changed_from=0)
        hole = (place[0], place[1] - radius)
        screen.press("[")
        screen.idle()
        screen.mouse.click(*screen.at(*hole), button="right")  # the opposite of the tool
        screen.area(changed_from=painted)
        mask_HW = saved(screen, written)
    expected_HW = disc(mask_HW.shape, place, radius) & ~disc(mask_HW.shape, hole, radius / 1.25)
    assert overlap(mask_HW, expected_HW) > 0.93


def test_an_enlarged_picture_is_painted_finer_and_where_the_pointer_is(reviewing, written):
    with reviewing() as screen:
        empty(screen)
        place = screen.target()
        screen.press("b")
        screen.idle()
        screen.mouse.move(*screen.at(*place))
        before = screen.scale()
        while zoom(screen) < 300:
            screen.mouse.wheel(0, -120)
            screen.page.wait_for_timeout(50)
        grown = zoom(screen) / 100
        screen.mouse.down()
        screen.mouse.up()
        screen.area(changed_from=0)
        mask_HW = saved(screen, written)
        assert zoom(screen) == 100  # the next label is shown as a whole
    assert overlap(mask_HW, disc(mask_HW.shape, place, 14 / before / grown)) > 0.7
    assert mask_HW[int(place[1]), int(place[0])]


def test_a_polygon_is_closed_by_enter_or_its_first_corner_and_can_cut(reviewing, written):
    with reviewing() as screen:
        empty(screen)
        screen.press("p")
        screen.idle()
        for corner in ((10, 10), (90, 10), (90, 90), (10, 90), (10, 10)):
            screen.mouse.click(*screen.at(*corner))
        whole = screen.area(changed_from=0)
        for corner in ((30, 30), (50, 30), (50, 50), (20, 90)):
            screen.mouse.click(*screen.at(*corner), button="right")
        for key in ("Backspace", "Enter"):  # the last corner is a slip
            screen.press(key)
        screen.area(changed_from=whole)
        mask_HW = saved(screen, written)
    assert mask_HW[80, 80] and mask_HW[15, 15] and not mask_HW[35, 45] and not mask_HW[95, 50]
    assert abs(mask_HW.sum() - (80 * 80 - 20 * 20 / 2)) < 200


def test_each_change_is_undone_and_done_again_and_all_of_them_are_cleared(reviewing):
    with reviewing() as screen:
        empty(screen)
        screen.press("b")
        screen.idle()
        areas = [0]
        for x in (20, 60, 100):
            screen.mouse.click(*screen.at(x, 30))
            areas.append(screen.area(changed_from=areas[-1]))
        for key, area in (("Control+z", 2), ("Backspace", 1), ("Control+Shift+z", 2), ("Control+y", 3)):
            screen.press(key)
            screen.page.wait_for_selector(f"body[data-area='{areas[area]}']")
        screen.press("Escape")
        screen.page.wait_for_selector(f"body[data-area='{rle.area(screen.record().mask)}']")
        screen.press("z")
        screen.page.wait_for_selector(f"body[data-area='{areas[3]}']")


def test_a_mask_is_repaired_without_a_mouse(reviewing, written):
    with reviewing() as screen:
        empty(screen)
        screen.press("Space")  # the crosshair appears in the middle of the screen
        scale, middle = screen.scale(), (screen.record().mask.width / 2, screen.record().mask.height / 2)
        steps = [round((at - half) * scale / 12) for at, half in zip(screen.target(), middle, strict=True)]
        keys = ("Shift+ArrowLeft", "Shift+ArrowRight"), ("Shift+ArrowUp", "Shift+ArrowDown")
        for (back, forth), count in zip(keys, steps, strict=True):
            for _ in range(abs(count)):
                screen.press(forth if count > 0 else back)
        screen.press("Space")
        seen = screen.area(changed_from=0)
        for key in ("e", "e", "b", "Space", *["Shift+ArrowUp"] * 8, "Space"):
            screen.press(key)
        screen.area(changed_from=seen)
        x, y = (half + count * 12 / scale for count, half in zip(steps, middle, strict=True))
        mask_HW = saved(screen, written)
    expected_HW = np.zeros(mask_HW.shape, bool)
    for part in np.linspace(0, 96 / scale, 50):
        expected_HW |= disc(mask_HW.shape, (x, y - part), 14 / scale)
    assert overlap(mask_HW, expected_HW) > 0.85


def test_one_finger_uses_the_tool_and_two_enlarge_the_picture(reviewing, written):
    with reviewing(has_touch=True) as screen:
        empty(screen)
        screen.page.locator("#tool-brush").tap()
        screen.idle()
        screen.page.touchscreen.tap(*screen.at(40, 40))
        painted = screen.area(changed_from=0)
        fingers = screen.page.context.new_cdp_session(screen.page)

        def touch(kind, *points):
            where = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

        touch("touchStart", (400, 400))
        touch("touchStart", (400, 400), (500, 400))
        for far in range(0, 110, 10):
            touch("touchMove", (400 - far, 400), (500 + far, 400))
        touch("touchEnd")
        screen.page.wait_for_selector("#zoom:not(:text('100 %'))")
        assert 250 < zoom(screen) < 350
        assert screen.area() == painted  # nothing was painted by the two
        screen.page.locator("[data-key=f]").tap()
        screen.next(written()[-1].sample_id if written() else "")
    assert rle.area(written()[-1].mask) == painted


def test_the_segmenter_looks_ahead_and_the_page_says_when_it_is_busy(reviewing):
    with reviewing() as screen:
        screen.with_proposals()
        screen.page.wait_for_selector(f"body[data-looked='{screen.label}']")
        assert screen.session.repair._segmenter is not None  # before any click
        held = []
        screen.page.route("**/edits", lambda route: held.append(route))
        screen.mouse.click(*screen.at(*screen.target()))
        screen.page.wait_for_selector("#busy:visible:has-text('segmenting')")
        screen.press("e")  # an edit meanwhile waits for its turn, and the keys go on
        assert screen.idle()
        held[0].continue_()
        screen.page.wait_for_timeout(200)
        while len(held) < 2:
            screen.page.wait_for_timeout(50)
        assert screen.page.locator("#busy").is_visible()
        held[1].continue_()
        screen.page.wait_for_selector("#busy", state="hidden")
        assert screen.area() == 0


def test_a_drag_is_a_box_for_the_segmenter(reviewing, written):
    with reviewing() as screen:
        empty(screen)
        truth = rle.bbox(screen.record().sample.human_mask)
        screen.mouse.move(*screen.at(truth.x0, truth.y0))
        screen.mouse.down()
        screen.mouse.move(*screen.at(truth.x1, truth.y1), steps=4)
        screen.mouse.up()
        screen.area(changed_from=0)
        mask_HW = saved(screen, written)
    inside_HW = np.zeros(mask_HW.shape, bool)
    inside_HW[int(truth.y0) : int(truth.y1) + 1, int(truth.x0) : int(truth.x1) + 1] = True
    assert (mask_HW & inside_HW).sum() > 0.7 * mask_HW.sum() > 0


def test_the_outline_has_the_colour_that_differs_most_from_the_picture(reviewing):
    with reviewing() as screen:
        screen.with_proposals()
        label = screen.record()
        colour, _ = distinct(decode(label.sample.image), rle.decode(label.mask))
        for _ in range(4):
            screen.press(",")  # no tint
        screen.idle()
        seen_HWC = np.asarray(Image.open(io.BytesIO(screen.page.locator("#canvas").screenshot())).convert("RGB"))
        screen.press("m")
        screen.idle()
        bare_HWC = np.asarray(Image.open(io.BytesIO(screen.page.locator("#canvas").screenshot())).convert("RGB"))
    contours, _ = cv2.findContours(rle.decode(label.mask).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outlined = (np.abs(seen_HWC.astype(int) - colour).max(axis=2) < 12).sum()
    assert outlined > sum(map(len, contours))  # at least a pixel of the screen for one of the image
    assert (np.abs(bare_HWC.astype(int) - colour).max(axis=2) < 12).sum() < 0.05 * outlined
