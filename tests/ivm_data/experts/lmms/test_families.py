"""Today's LMM families in miniature, through their own classes and processors, asked as the stages ask."""

import json

import numpy as np
import pytest
import torch

from benchmarks import lmm_families
from benchmarks.lmm_families import FAMILIES, PROCESSORS, SIZES, UNBOUND
from ivm_data.experts.grounders.lmm_boxes import LmmBoxes, LmmBoxesConfig
from ivm_data.experts.lmms.chat_messages import NO, YES
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.whole_image import MAX_PIXELS
from storage.errors import ConfigError

QUICK = ("Gemma 3", "GLM-4.6V")
"""Those that take a few seconds; the others have large vocabularies or many tiles."""
SHARING = ("LLaVA-1.5", "LLaVA-OneVision", "Qwen2.5-VL", "Qwen3-VL", "SmolVLM2", "GLM-4.1V", "GLM-4.6V")
TOKENS = {  # At 0.3, 2 and 12 megapixels, as the engine shows them.
    "LLaVA-1.5": (579, 579, 579),
    "LLaVA-OneVision": (2931, 7259, 7311),
    "Qwen2.5-VL": (393, 1262, 1273),
    "Qwen3-VL": (302, 964, 974),
    "SmolVLM2": (863, 863, 863),
    "Gemma 3": (262, 262, 262),
    "Gemma 4": (272, 272, 272),
    "InternVL3": (3331, 3331, 3331),
    "GLM-4.1V": (393, 1262, 1273),
    "GLM-4.6V": (393, 1262, 1273),
    "Molmo 2": (766, 996, 996),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FAMILIES],
)
def family(request):
    family = FAMILIES[request.param]
    if reason := lmm_families.why_not(family, PROCESSORS):
        pytest.skip(f"{family.name} is not tried: {reason}")
    return family


@pytest.fixture(scope="module")
def lmm(family, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("family")
    family.build(folder, PROCESSORS)
    lmm = HfLmm(LmmConfig(str(folder), batch=4))
    lmm.load()
    return lmm


def test_its_template_asks_in_the_familys_own_words(family, lmm):
    assert lmm_families.prompt_of(lmm) == family.prompt


def test_yes_and_no_are_single_tokens_of_its_vocabulary(lmm):
    for ids, spellings in ((lmm._yes_ids, YES), (lmm._no_ids, NO)):
        assert ids and {lmm._tokenizer.decode([i]) for i in ids} <= set(spellings)
    assert not set(lmm._yes_ids) & set(lmm._no_ids)


def test_a_question_in_a_batch_has_the_answer_that_it_has_alone(lmm):
    difference, spread = lmm_families.batch(lmm)
    assert spread > 0.001 and difference < spread / 50


def test_questions_about_one_image_share_what_its_positions_let_them_share(family, lmm):
    images = [lmm_families.photo(300, 400), lmm_families.photo(120, 500, 1)]
    questions = [lmm_families.QUESTION, "Is this a small striped green star?"]
    asked = [(image, question) for image in images for question in questions]
    alone = np.array([lmm.p_yes([image], [question])[0] for image, question in asked])
    seen = []
    hook = lmm._model.register_forward_pre_hook(lambda *_: seen.append(1))
    together = lmm.p_yes(*map(list, zip(*asked, strict=True)))
    hook.remove()
    assert len(seen) == (2 if family.name in SHARING else 1)
    assert np.abs(together - alone).max() < np.std(alone) / 50


def test_a_bar_along_any_side_changes_what_the_model_is_given(lmm):
    assert min(lmm_families.bar(lmm, 300, 700), lmm_families.bar(lmm, 700, 300)) > 0.1


def test_an_image_costs_these_tokens_however_many_pixels_it_has(family, lmm):
    assert tuple(lmm_families.tokens(lmm, *size, MAX_PIXELS) for size in SIZES.values()) == TOKENS[family.name]
    if family.name in ("Qwen2.5-VL", "Qwen3-VL"):
        assert lmm_families.tokens(lmm, *SIZES[12.0], UNBOUND) > 10 * TOKENS[family.name][2]


def test_an_answer_is_whole_or_told_to_be_cut_and_the_other_verbs_answer_too(lmm):
    images = [lmm_families.photo(60, 90), lmm_families.photo(90, 60, 1)]
    replies = lmm.reply(images, ["What is this?"] * 2, tokens=3)
    assert [reply.frame.original for reply in replies] == [(90, 60), (60, 90)]
    for reply in replies:
        assert reply.is_cut or reply.text != lmm.answer(images, ["What is this?"] * 2, tokens=1)
    chances = lmm.choose(images, ["Which?"] * 2, [["yes", "no"], ["no", "yes", "maybe"]])
    assert [len(row) for row in chances] == [2, 3] and np.isfinite(np.concatenate(chances)).all()
    assert len(lmm.answer(None, ["Why?"])) == 1


def test_it_can_be_asked_for_boxes(lmm):
    lmm_boxes = LmmBoxes(lmm, LmmBoxesConfig("qwen3", answer_tokens=4))
    view = lmm.reply([lmm_families.photo(120, 90)], ["Where?"], tokens=2)[0].frame
    assert view.original == (90, 120) and min(view.size) > 0 and lmm_boxes.name.startswith("lmm-boxes:")


def test_a_model_whose_template_opens_a_thought_is_no_verifier(tmp_path):
    FAMILIES["GLM-4.6V"].build(tmp_path, PROCESSORS)
    template = tmp_path / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("<|assistant|>\n", "<|assistant|>\n<think>").replace("</think>", "")
    )
    lmm = HfLmm(LmmConfig(str(tmp_path)))
    with pytest.raises(ConfigError, match="thinks before it answers"):
        lmm.p_yes([lmm_families.photo(30, 30)], ["Is this a mug?"])
    assert lmm.answer(None, ["Why?"], tokens=2) is not None
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "glm46v"
