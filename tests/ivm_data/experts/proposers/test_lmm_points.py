"""An LMM that always points at the same places, over the embedded segmenter."""

import numpy as np
import pytest

from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.proposers.lmm_points import LmmPoints, LmmPointsConfig
from ivm_data.experts.registry import create
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.embedded import WEIGHTS
from storage.request import Request, Thing

STARS = Request((Thing("star"),))


@pytest.fixture(scope="module")
def pointing(tmp_path_factory, tiny):
    """An expert whose LMM answers with this."""

    def made(answer):
        folder = tmp_path_factory.mktemp("points")
        tiny.qwen2_5_vl(folder, answer)
        lmm = HfLmm(LmmConfig(str(folder), instructed=True))
        return LmmPoints(lmm, Sam(SamConfig(str(WEIGHTS / "segmenter"))), LmmPointsConfig())

    return made


def at(scene):
    """A place within the scene's first thing, in thousandths."""
    rows, columns = np.nonzero(scene.things[0].mask_HW)
    middle = len(rows) // 2
    height, width = scene.image_HWC.shape[:2]
    return round(1000 * (columns[middle] + 0.5) / width), round(1000 * (rows[middle] + 0.5) / height)


def test_the_thing_under_a_point_is_proposed(pointing):
    scene = draw_scene("val", 0)
    x, y = at(scene)
    expert = pointing(f'<points coords="1 1 {x} {y}">star</points>')
    ((mask_HW, score),) = expert.propose([scene.image_HWC], [STARS])
    thing_HW = scene.things[0].mask_HW
    assert (mask_HW & thing_HW).sum() > 0.5 * (mask_HW | thing_HW).sum() and 0 < score <= 1
    assert expert.name.startswith("lmm-points:points") and "+segmenter@" in expert.name


def test_no_such_thing_is_an_empty_mask_and_an_unread_answer_an_error(pointing):
    scene = draw_scene("val", 1)
    ((mask_HW, score),) = pointing("There are none.").propose([scene.image_HWC], [STARS])
    assert not mask_HW.any() and score == 0
    with pytest.raises(AnswerError, match=r"was asked where 'star' is and answered 'On the left\.'"):
        pointing("On the left.").propose([scene.image_HWC], [STARS])


def test_each_image_and_phrase_is_asked_once_and_nothing_asked_gives_nothing(pointing):
    expert = pointing('<points coords="1 1 500 500">star</points>')
    images = [draw_scene("val", index).image_HWC for index in (0, 0, 2)]
    requests = [STARS, STARS, Request((Thing("star"), Thing("ring")))]
    found = expert.propose(images, requests)
    assert [mask_HW.shape for mask_HW, _ in found] == [image.shape[:2] for image in images]
    assert (found[0][0] == found[1][0]).all() and expert.propose([], []) == []


def test_a_recipe_can_name_it(tmp_path, tiny):
    expert = create(tiny.SPECS["lmm-points"](tmp_path))
    scene = draw_scene("val", 3)
    assert expert.propose([scene.image_HWC], [STARS])[0][0].shape == scene.image_HWC.shape[:2]
