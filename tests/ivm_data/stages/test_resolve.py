"""What becomes of verified candidates."""

from dataclasses import replace

import numpy as np
import pytest

from ivm_data.stages.resolve import ResolveConfig, ResolveStage, decide
from ivm_data.stages.stage import Draft
from storage.records import Box, Candidate, Sample, Witness
from storage.request import Request, Thing

IMAGE = np.zeros((8, 8, 3), np.uint8)
CONFIG = ResolveConfig(absent_below=0.5)


def draft(phrases, *candidates, quantity="one"):
    sample = Sample("id", b"", "a.png", 8, 8, "an instruction", "test")
    return Draft(sample, IMAGE, request=Request.of(tuple(phrases), quantity=quantity), candidates=candidates)


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


def test_one_of_two_alternatives_is_enough():
    request = Request((Thing("ring"), Thing("star", of=0, relation="or")))
    asked = replace(draft(["ring"], found("star", 0.9)), request=request)
    decided = decide(asked, [0.1, 0.9], CONFIG)
    assert decided.unfound == () and decided.scores.presence == 0.9 and not decided.absent
    assert decide(replace(asked, candidates=()), [0.1, 0.2], CONFIG).absent


def test_writing_that_no_detector_finds_is_not_said_to_be_absent():
    asked = replace(draft(["sign"]), request=Request((Thing("sign", reads=True),)))
    assert not decide(asked, [0.1], CONFIG).absent
    assert decide(draft(["sign"]), [0.1], CONFIG).absent


def test_an_instruction_about_the_whole_image_passes_through_unasked():
    whole = replace(draft(["ring"]), request=Request(scope="whole image"))
    (kept,) = ResolveStage(Sure(), CONFIG).run([whole]).kept
    assert kept == whole


def test_candidates_are_judged_in_context_only_where_there_are_several():
    seen = []

    class Asked(Sure):
        def p_yes(self, images, questions):
            seen.extend(zip(images, questions, strict=True))
            outlined = ("red outline" in question for question in questions)
            return np.array([0.9 - 0.3 * i if is_outlined else 0.9 for i, is_outlined in enumerate(outlined)])

    large = np.zeros((64, 64, 3), np.uint8)
    two = replace(draft(["ring"], found("ring", 0.9), found("ring", 0.8, at=5)), image_HWC=large)
    one = replace(draft(["ring"], found("ring", 0.9)), image_HWC=large)
    kept = ResolveStage(Asked(), replace(CONFIG, in_context=True)).run([two, one]).kept
    asked = [(image, question) for image, question in seen if "red outline" in question]
    assert len(asked) == 2 and all("an instruction" in question for _, question in asked)
    assert all((image == (255, 0, 0)).all(2).any() for image, _ in asked)
    assert [np.isnan(c.in_context) for c in kept[1].candidates] == [True]
    assert kept[0].scores.in_context == max(c.in_context for c in kept[0].candidates)


def test_how_many_grounders_found_the_chosen_box_is_a_score():
    witnesses = (Witness("a@1", "ring", 0.9), Witness("a@1", "noun", 0.8))
    seen = replace(found("ring", 0.9), witnesses=witnesses)
    assert decide(draft(["ring"], seen), [0.9], CONFIG, grounders=2).scores.witnessed == 0.5
    assert np.isnan(decide(draft(["ring"], seen), [0.9], CONFIG).scores.witnessed)
