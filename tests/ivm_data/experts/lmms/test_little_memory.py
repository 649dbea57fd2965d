"""What becomes of an image that is too large for the memory even alone; cut answers; boxes of what was seen of it."""

import json
import logging

import numpy as np
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from ivm_data.engine.pipeline import run_isolated
from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.grounders.lmm_boxes import LmmBoxes, LmmBoxesConfig
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.question import MOST_HALVINGS
from ivm_data.experts.lmms.whole_image import whole_image
from ivm_data.stages.ground import GroundStage
from ivm_data.stages.stage import Draft
from storage.records import Sample
from storage.request import Request

ANSWER = json.dumps([{"bbox_2d": [28, 56, 112, 140], "label": "mug"}])
WARNING = "out of memory with a single image"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("little")
    tiny.qwen2_5_vl(folder, ANSWER)
    return str(folder)


@pytest.fixture
def holding(folder):
    """An LMM on a device that holds so many patches of 14 x 14 pixels, and fails as CUDA does beyond that."""

    def made(patches, **options):
        lmm = HfLmm(LmmConfig(folder, instructed=True, **options))
        lmm.load()
        lmm.seen = []

        def fail(_, inputs):
            lmm.seen.append(len(inputs[0]))
            if len(inputs[0]) > patches:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        lmm._model.model.visual.register_forward_pre_hook(fail)
        return lmm

    return made


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_an_image_too_large_for_the_memory_is_asked_about_smaller_with_a_warning(holding, folder, caplog):
    lmm, image_HWC = holding(patches=300), noise(280, 560)
    with caplog.at_level(logging.WARNING):
        chance = lmm.p_yes([image_HWC], ["Is there a mug?"])
    assert lmm.seen[0] == 800 and lmm.seen[-1] <= 300 and len(lmm.seen) == 3
    assert next(record.message for record in caplog.records if WARNING in record.message).startswith(
        f"{WARNING} of 560 x 280 pixels; it is asked about again with 78400 instead of 156800 pixels"
    )
    small_HWC, _ = whole_image(image_HWC, 280 * 560 // 4)
    plain = HfLmm(LmmConfig(folder, instructed=True))
    assert chance == pytest.approx(plain.p_yes([small_HWC], ["Is there a mug?"]), abs=1e-6)


def test_images_that_fit_stay_as_they_are_beside_one_that_does_not(holding):
    lmm = holding(patches=300)
    images = [noise(140, 140), noise(280, 560), noise(140, 280)]
    (first, second, third) = lmm.reply(images, ["Where?"] * 3, tokens=2)
    assert (first.frame.size, third.frame.size) == ((140, 140), (280, 140))
    assert second.frame.size[0] * second.frame.size[1] <= 300 * 14 * 14 and second.frame.original == (560, 280)
    assert len(lmm.choose(images, ["Which?"] * 3, [["yes", "no"]] * 3)) == 3


def test_an_image_that_never_fits_says_what_was_tried_and_rejects_its_sample_alone(holding, monkeypatch):
    lmm = holding(patches=60)
    with pytest.raises(
        AnswerError, match=rf"560 x 280 pixels, which was shrunk {MOST_HALVINGS} times, last to 9800 pixels"
    ):
        lmm._model.model.visual.register_forward_pre_hook(
            lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory."))
        )
        lmm.p_yes([noise(280, 560)], ["Is there a mug?"])


def test_the_rejection_tells_of_the_memory(holding):
    grounder = LmmBoxes(holding(patches=1), LmmBoxesConfig("qwen2.5"))
    draft = Draft(Sample("a", b"", "", 560, 280, "x", "test"), noise(280, 560), Request.of(("mug",)))
    (rejection,) = run_isolated(GroundStage([grounder]), [draft]).rejected
    assert rejection.reason == "expert_failed"
    assert f"560 x 280 pixels, which was shrunk {MOST_HALVINGS} times" in rejection.detail


def test_a_question_in_words_alone_cannot_shrink(folder):
    lmm = HfLmm(LmmConfig(folder, instructed=True))
    lmm.load()
    lmm._model.register_forward_pre_hook(
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory."))
    )
    with pytest.raises(torch.OutOfMemoryError):
        lmm.answer(None, ["Why?"])


@pytest.mark.parametrize("form", ["qwen2.5", "qwen3"])
@pytest.mark.parametrize(("patches", "max_pixels"), [(10**6, 100_000), (700, 1_000_000), (700, 100_000)])
def test_boxes_of_a_picture_that_was_shrunk_again_are_in_the_images_pixels(holding, form, patches, max_pixels):
    lmm, image_HWC = holding(patches, max_pixels=max_pixels), noise(600, 900)
    ((found,),) = LmmBoxes(lmm, LmmBoxesConfig(form, box_threshold=0.1)).ground([image_HWC], [["mug"]])
    view_h, view_w = smart_resize(600, 900, max_pixels=1_000_000)
    left, (seen_h, seen_w) = min(max_pixels, view_h * view_w), (view_h, view_w)
    while (seen_h // 14) * (seen_w // 14) > patches or seen_h * seen_w > 1.1 * left:
        shown_HWC, _ = whole_image(np.zeros((view_h, view_w, 3), np.uint8), left)
        seen_h, seen_w = smart_resize(*shown_HWC.shape[:2])
        left //= 1 if seen_h * seen_w <= patches * 14 * 14 else 2
    assert seen_h * seen_w <= min(patches * 14 * 14, 1.1 * max_pixels) and (seen_h, seen_w) != (view_h, view_w)
    unit = (900 / seen_w, 600 / seen_h) if form == "qwen2.5" else (0.9, 0.6)
    expected = [value * unit[k % 2] for k, value in enumerate((28, 56, 112, 140))]
    assert [found.box.x0, found.box.y0, found.box.x1, found.box.y1] == pytest.approx(expected, rel=1e-5)


def test_an_answer_that_reaches_its_length_is_cut_and_one_that_ends_is_not(folder):
    lmm = HfLmm(LmmConfig(folder, instructed=True))
    images = [noise(60, 60), noise(60, 90)]
    cut, whole = (lmm.reply(images, ["Where?"] * 2, tokens=tokens) for tokens in (1, 2))
    assert [reply.is_cut for reply in cut] == [True, True] and [reply.is_cut for reply in whole] == [False, False]
    assert {reply.text for reply in whole} == {ANSWER} and lmm.answer(images, ["Where?"] * 2) == [ANSWER] * 2
    assert lmm.reply(None, ["Where?"])[0].frame is None and lmm.reply([], []) == []
