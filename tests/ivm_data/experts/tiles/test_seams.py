"""Detections of tiles made detections of the picture."""

import pytest

from ivm_data.experts.common.protocols import Detection
from ivm_data.experts.tiles.seams import Found, united
from storage.pixels.windows import Window
from storage.records import Box

LEFT, RIGHT, SIZE = Window(0, 0, 100, 100), Window(70, 0, 170, 100), (100, 170)


def found(box, tile, phrase="cup", score=0.8):
    return Found(Detection(phrase, Box(*box), score), tile)


def boxes(hits):
    return [(hit.box.x0, hit.box.y0, hit.box.x1, hit.box.y1) for hit in hits]


def test_a_thing_that_two_tiles_see_whole_is_found_once():
    twice = [found((75, 10, 95, 30), LEFT, score=0.7), found((76, 10, 96, 31), RIGHT, score=0.9)]
    assert boxes(united(twice, [], SIZE, 30, 0.6)) == [(76, 10, 96, 31)]


def test_pieces_that_agree_in_what_both_tiles_show_are_one_thing():
    pieces = [found((40, 20, 100, 60), LEFT, score=0.6), found((70, 21, 140, 60), RIGHT, score=0.8)]
    (hit,) = united(pieces, [], SIZE, 30, 0.6)
    assert boxes([hit]) == [(40, 20, 140, 60)] and hit.score == 0.8


@pytest.mark.parametrize("other", [{"box": (70, 70, 140, 95)}, {"box": (70, 21, 140, 60), "phrase": "dog"}])
def test_pieces_that_do_not_agree_stay_two(other):
    pieces = [found((40, 20, 100, 60), LEFT), found(tile=RIGHT, **other)]
    assert len(united(pieces, [], SIZE, 30, 0.6)) == 2


def test_a_short_piece_shows_a_thing_that_another_tile_does_not_see():
    assert not united([found((80, 20, 100, 40), LEFT)], [], SIZE, 30, 0.6)
    assert united([found((50, 20, 100, 40), LEFT)], [], SIZE, 30, 0.6)


def test_a_piece_within_a_box_of_the_whole_picture_is_no_second_thing():
    whole = [Detection("cup", Box(5, 5, 165, 95), 0.5)]
    assert united([found((0, 6, 100, 95), LEFT, score=0.9)], whole, SIZE, 30, 0.6) == whole


def test_of_the_whole_picture_long_boxes_count():
    whole = [Detection("cup", Box(5, 5, 60, 50), 0.5), Detection("cup", Box(80, 5, 95, 20), 0.9)]
    assert united([], whole, SIZE, 30, 0.6) == whole[:1]
