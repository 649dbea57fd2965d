"""Verification of masks in pictures that the verifier sees whole, and in larger ones, with the embedded LMM."""

from dataclasses import replace

import numpy as np
import pytest

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.registry import get
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.stages.stage import Draft
from ivm_data.stages.verify import VerifyConfig, VerifyStage
from ivm_data.worlds.search import draw_search
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Sample
from storage.request import Request


@pytest.fixture(scope="module")
def lmm():
    return get(demo().verifier)


def draft(search, thing, name="a"):
    """A question about a canvas, with the mask of one of its things."""
    scene, (phrase,) = search.scene, search.phrases
    height, width = scene.image_HWC.shape[:2]
    sample = Sample(name, b"", name, width, height, f"What {search.asked} is the {phrase}?", "search")
    return Draft(sample, scene.image_HWC, Request.of((phrase,)), mask=rle.encode(scene.things[thing].mask_HW))


def scores(lmm, drafts, near):
    found = VerifyStage(lmm, VerifyConfig(near=near)).run(drafts).kept
    return np.array([[one.scores.p_yes_kept, one.scores.p_yes_complement, one.scores.verification] for one in found])


def test_from_near_a_right_mask_is_told_from_a_wrong_one_where_from_afar_it_is_not(lmm):
    right, wrong = [], []
    for index in range(12):
        search = draw_search(700 + index, 512)
        other = next(i for i, thing in enumerate(search.scene.things) if i != search.target and thing.size == "small")
        right.append(draft(search, search.target, f"right {index}"))
        wrong.append(draft(search, other, f"wrong {index}"))
    gaps = [scores(lmm, right, near)[:, 0].mean() - scores(lmm, wrong, near)[:, 0].mean() for near in (False, True)]
    assert abs(gaps[0]) < 0.1 and gaps[1] > 0.3


def test_an_answer_from_near_never_makes_less_of_what_was_seen_from_afar(lmm):
    search = draw_search(701, 256)
    drafts = [draft(search, search.target)]
    far, near = scores(lmm, drafts, near=False), scores(lmm, drafts, near=True)
    assert (near[:, :2] >= far[:, :2] - 1e-5).all()
    np.testing.assert_allclose(near[:, 2], near[:, 0] * (1 - near[:, 1]))


def test_a_picture_that_the_verifier_sees_whole_is_asked_about_once(lmm):
    search = draw_search(702, 128)
    drafts = [draft(search, search.target)]
    np.testing.assert_array_equal(scores(lmm, drafts, near=True), scores(lmm, drafts, near=False))


def test_a_verifier_that_does_not_say_what_it_sees_cannot_be_shown_things_from_near():
    class Sure:
        name = "sure@1"

        def p_yes(self, images, questions):
            return np.ones(len(images), np.float32)

    search = draw_search(703, 256)
    with pytest.raises(ConfigError, match=r"verify\.near=false"):
        scores(Sure(), [draft(search, search.target)], near=True)


def test_an_lmm_sees_no_more_than_its_config_lets_it(lmm):
    assert lmm.input_size == InputSize(128, 128)
    assert replace(lmm.input_size, short=800, long=1333).within(10_000) == InputSize(100, 100)
