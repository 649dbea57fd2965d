"""What becomes of verified candidates."""

from dataclasses import replace

import numpy as np
import pytest

from ivm_data.stages.resolve import ResolveConfig, ResolveStage, decide
from ivm_data.stages.stage import Draft
from storage.records import Box, Candidate, Rewrite, Sample

IMAGE = np.zeros((8, 8, 3), np.uint8)
CONFIG = ResolveConfig(absent_below=0.5)


def draft(phrases, *candidates, quantity="one"):
    sample = Sample("id", b"", "a.png", 8, 8, "an instruction", "test")
    return Draft(sample, IMAGE, rewrite=Rewrite(tuple(phrases), quantity=quantity), candidates=candidates)


def found(phrase, support, at=0):
    return Candidate("grounder", phrase, "target", Box(at, 0, at + 2, 2), score=support, p_yes=support)


def test_a_target_that_neither_presence_nor_a_box_supports_is_absent():
    assert decide(draft(["ring"], found("ring", 0.4)), [0.4], CONFIG).absent
    assert decide(draft(["ring"]), [0.4], CONFIG).absent


@pytest.mark.parametrize(("present", "support"), [(0.6, 0.1), (0.1, 0.6)])
def test_one_sign_is_enough_for_a_target_to_be_there(present, support):
    assert not decide(draft(["ring"], found("ring", support)), [present], CONFIG).absent


def test_a_grounder_that_is_sure_is_not_outvoted_by_one_lmm_asked_twice():
    sure, unsure = (replace(found("ring", 0.1), score=score) for score in (0.7, 0.4))
    assert not decide(draft(["ring"], sure), [0.1], CONFIG).absent
    assert decide(draft(["ring"], unsure), [0.1], CONFIG).absent


def test_one_phrase_of_two_that_seems_absent_does_not_make_the_instruction_absent():
    decided = decide(draft(["ring", "star"], found("ring", 0.9), found("star", 0.2, at=4)), [0.9, 0.1], CONFIG)
    assert not decided.absent
    assert [c.phrase for c in decided.candidates if c.chosen] == ["ring", "star"]
    assert decided.scores.presence == 0.1


def test_a_phrase_without_a_box_of_its_own_is_told():
    same_place = draft(["ring", "star"], found("ring", 0.9), found("star", 0.8))
    assert decide(same_place, [0.9, 0.9], CONFIG).unfound == ("star",)


def test_all_that_match_needs_one_box_of_any_phrase():
    decided = decide(draft(["rings", "stars"], found("rings", 0.9), quantity="all"), [0.9, 0.9], CONFIG)
    assert decided.unfound == ()
    assert decide(draft(["rings"], quantity="all"), [0.9], CONFIG).unfound == ("rings",)


def test_a_draft_goes_on_with_the_boxes_of_some_phrases_and_is_rejected_without_any():
    stage = ResolveStage(Sure(), CONFIG)
    half, none = draft(["ring", "star"], found("ring", 0.9)), draft(["ring", "star"])
    outcome = stage.run([half, none])
    assert [kept.unfound for kept in outcome.kept] == [("star",)]
    assert [(one.reason, one.detail) for one in outcome.rejected] == [
        ("no_box", "P(present) = 0.90, but no box for 'ring', 'star'")
    ]


class Sure:
    """A verifier that says yes to everything."""

    name = "sure@1"

    def load(self): ...

    def p_yes(self, images, questions):
        return np.full(len(questions), 0.9)
