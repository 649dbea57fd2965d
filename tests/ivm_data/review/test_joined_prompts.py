"""Clicks that mean one thing, with a segmenter that joins them and with one that does not."""

import threading
import time

import numpy as np
import pytest

from ivm_data.experts.segmenters.prompted_masks import JoinedPrompt
from ivm_data.review.edits import Edit
from ivm_data.review.session import ReviewSession
from storage.pixels import rle
from storage.records import Box

PLACES = ((20.0, 30.0), (90.0, 60.0), (64.0, 100.0))


@pytest.fixture(scope="module")
def sam2(tmp_path_factory, tiny):
    """A folder with a SAM 2 of random weights: as released ones, it has three ambiguity-aware masks."""
    folder = tmp_path_factory.mktemp("sam2")
    tiny.sam2(folder)
    return folder


@pytest.fixture
def session(data, sam2):
    return ReviewSession(data, "anna", changes={"expert": "sam2", "options.path": str(sam2)})


@pytest.fixture
def shown(session):
    item = session.queue()["items"][0]
    return session.shown(item["part"], item["sample_id"])


def clicks(*kinds, joined=True):
    return [Edit(kind, (PLACES[i],), goes_on=joined and i > 0) for i, kind in enumerate(kinds)]


def made(session, shown, edits, start="nothing"):
    return rle.decode(session.repair.mask(shown, edits, start))


def asked(session, shown, wanted, box=None):
    prompt = JoinedPrompt(np.array(PLACES[: len(wanted)]), np.array(wanted), box)
    return session.repair._loaded().segment_joined(shown.image_HWC, prompt).mask_NHW[0]


def test_clicks_on_one_thing_are_one_prompt(session, shown):
    assert session.repair.look(shown)
    joined_HW = made(session, shown, clicks("add", "remove", "add"))
    np.testing.assert_array_equal(joined_HW, asked(session, shown, [True, False, True]))
    assert (joined_HW != made(session, shown, clicks("add", "remove", "add", joined=False))).any()


def test_a_thing_that_begins_with_taking_away_is_taken_away(session, shown):
    left_HW = made(session, shown, clicks("remove", "remove", "add"), "everything")
    np.testing.assert_array_equal(left_HW, ~asked(session, shown, [True, True, False]))


def test_a_box_and_clicks_are_one_prompt_and_another_thing_is_its_own(session, shown):
    corners = ((10.0, 10.0), (100.0, 90.0))
    box = Edit("box", corners)
    after = [Edit("remove", (PLACES[0],), goes_on=True)]
    boxed_HW = asked(session, shown, [False], Box(*corners[0], *corners[1]))
    np.testing.assert_array_equal(made(session, shown, [box, *after]), boxed_HW)
    other = Edit("add", (PLACES[1],))
    alone_HW = made(session, shown, [other])
    np.testing.assert_array_equal(made(session, shown, [box, *after, other]), boxed_HW | alone_HW)


def test_a_stroke_between_two_clicks_keeps_them_apart(session, shown):
    stroke = Edit("brush", ((5.0, 5.0),), radius=2.0)
    first, second = clicks("add", "add")
    apart = [made(session, shown, [one]) for one in (first, stroke, second)]
    np.testing.assert_array_equal(made(session, shown, [first, stroke, second]), np.logical_or.reduce(apart))


def test_a_segmenter_that_learned_single_prompts_is_asked_click_by_click(data):
    session = ReviewSession(data, "anna")
    item = session.queue()["items"][0]
    shown = session.shown(item["part"], item["sample_id"])
    assert not session.repair.look(shown)
    joined, apart = (clicks("add", "remove", "add", joined=each) for each in (True, False))
    np.testing.assert_array_equal(made(session, shown, joined), made(session, shown, apart))


def test_an_image_that_was_left_meanwhile_is_not_looked_at(session):
    items = session.queue()["items"]
    first, second = (session.shown(item["part"], item["sample_id"]) for item in items[:2])
    seen = session.repair._loaded()._seen
    with session.repair._lock:
        looking = [threading.Thread(target=session.repair.look, args=(shown,)) for shown in (first, second)]
        for thread in looking:
            thread.start()
            while session.repair._latest is None or (thread is looking[1] and session.repair._latest is first):
                time.sleep(0.01)
    for thread in looking:
        thread.join()
    assert seen.get(second.image_HWC) is not None and seen.get(first.image_HWC) is None
