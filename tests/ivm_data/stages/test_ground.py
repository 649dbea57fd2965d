"""Boxes of several grounders, asked for expressions and nouns, become one list of candidates."""

import numpy as np
import pytest

from ivm_data.experts.common.protocols import Detection
from ivm_data.stages.ground import GroundConfig, GroundStage
from ivm_data.stages.stage import Draft
from storage.records import Box, Sample, Witness
from storage.request import Request, Thing

IMAGE = np.zeros((64, 64, 3), np.uint8)
A, NEAR_A, B = Box(0, 0, 20, 20), Box(1, 0, 21, 20), Box(40, 0, 60, 20)


class Finds:
    """A grounder that finds given boxes for given phrases, and keeps what it was asked."""

    def __init__(self, name, known=1.0, **boxes):
        self.name, self.known, self.boxes, self.asked = name, known, boxes, []

    def load(self): ...

    def ground(self, images, phrases):
        self.asked += phrases
        return [[Detection(p, box, score) for p in row for box, score in self.boxes.get(p, ())] for row in phrases]

    def known_words(self, phrase):
        return self.known


def draft(*things, **fields):
    sample = Sample("id", b"", "a.png", 64, 64, "an instruction", "test")
    return Draft(sample, IMAGE, request=Request(things, **fields)).scored(understood=0.9)


def grounded(one, *grounders, **config):
    (kept,) = GroundStage(grounders, GroundConfig(**config)).run([one]).kept
    return kept


def test_one_grounder_and_one_phrase_need_no_witness():
    kept = grounded(draft(Thing("man in hat", "man")), Finds("a@1", **{"man in hat": [(A, 0.9)]}))
    assert [(c.box, c.score, c.witnesses) for c in kept.candidates] == [(A, 0.9, ())]


def test_boxes_of_one_object_are_united_and_their_finders_kept():
    first, second = Finds("a@1", man=[(A, 0.6), (B, 0.5)]), Finds("b@1", man=[(NEAR_A, 0.8)])
    kept = grounded(draft(Thing("man")), first, second)
    assert [(c.expert, c.box, c.score) for c in kept.candidates] == [("b@1", NEAR_A, 0.8), ("a@1", B, 0.5)]
    assert kept.candidates[0].witnesses == (Witness("b@1", "man", 0.8), Witness("a@1", "man", 0.6))
    assert kept.candidates[1].witnesses == (Witness("a@1", "man", 0.5),)


def test_a_noun_is_searched_for_beside_its_expression():
    grounder = Finds("a@1", man=[(A, 0.9), (B, 0.7)], **{"man in hat": [(B, 0.4)]})
    kept = grounded(draft(Thing("man in hat", "man")), grounder, ask_nouns=True)
    assert grounder.asked == [["man in hat", "man"]]
    assert [(c.phrase, c.box, c.score) for c in kept.candidates] == [("man in hat", A, 0.9), ("man in hat", B, 0.7)]
    assert kept.candidates[1].witnesses == (Witness("a@1", "man", 0.7), Witness("a@1", "man in hat", 0.4))


def test_a_noun_of_two_things_serves_both():
    things = (Thing("man in hat", "man"), Thing("man in red", "man"))
    kept = grounded(draft(*things), Finds("a@1", man=[(A, 0.9)]), ask_nouns=True)
    assert sorted(c.phrase for c in kept.candidates) == ["man in hat", "man in red"]


def test_an_order_is_searched_for_by_its_noun_and_anchors_by_their_words():
    grounder = Finds("a@1", cup=[(A, 0.9)], plate=[(B, 0.8)])
    things = (Thing("second cup from the left", "cup", order="left", rank=2), Thing("plate", of=0, relation="left of"))
    kept = grounded(draft(*things), grounder)
    assert grounder.asked == [["cup", "plate"]]
    assert [(c.phrase, c.role) for c in kept.candidates] == [("cup", "target"), ("plate", "anchor")]


def test_nothing_is_searched_for_where_the_whole_image_is_meant():
    grounder = Finds("a@1")
    kept = grounded(draft(scope="whole image"), grounder)
    assert grounder.asked == [] and kept.candidates == () and kept.scores.understood == 0.9


@pytest.mark.parametrize(("known", "understood"), [((0.2,), 0.2), ((0.2, 0.8), 0.8), ((1.0,), 0.9)])
def test_what_no_grounder_knows_is_not_understood(known, understood):
    grounders = [Finds(f"{i}@1", share) for i, share in enumerate(known)]
    assert grounded(draft(Thing("tasse")), *grounders).scores.understood == understood
