"""The protocol over the embedded LMM, on canvases that it cannot read without looking closely."""

import json

import numpy as np
import pytest
import torch

from ivm_data.evaluation.downstream import WHOLE, Answers, AnswerTable, evaluate_answers, lmm_of
from ivm_data.evaluation.vstar import read_vstar
from ivm_data.worlds.search import write_search
from storage.errors import ConfigError


@pytest.fixture(scope="module")
def lmm():
    torch.set_num_threads(1)
    return lmm_of("hf-lmm?path=zoo:lmm")


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return read_vstar(write_search(tmp_path_factory.mktemp("search"), 24, side=256))[0]


@pytest.mark.slow
def test_the_embedded_lmm_gains_from_crops_by_true_masks(lmm, search):
    table = evaluate_answers("search", search, lmm, ["crop"], ["truth"])
    change, p = table.versus_whole("crop, truth")
    assert change.low > 0 and p < 0.05
    assert table.found("crop, truth") == 1.0 and table.views[WHOLE].unread == 0


def test_the_order_of_the_questions_and_of_the_batches_changes_no_answer(lmm, search):
    forward = evaluate_answers("search", search[:5], lmm, [], [], seed=3)
    backward = evaluate_answers("search", search[4::-1], lmm, [], [], seed=3)
    assert forward.views[WHOLE].right == backward.views[WHOLE].right[::-1]


class Says:
    """An LMM that answers with what `reply` makes of each lettered question."""

    name = "says@1"

    def __init__(self, reply):
        self.reply, self.asked = reply, []

    def answer(self, images, questions, task=None, tokens=None):
        self.asked += questions
        return [self.reply(question) for question in questions]


def letter_of(text):
    return lambda question: next(line[:3] for line in question.splitlines() if text in line)


def test_letters_are_read_back_through_the_shuffle(vstar):
    questions, _ = read_vstar(vstar)
    black = Says(letter_of("black"))
    for seed in range(4):
        table = evaluate_answers("v", questions[:1], black, [], [], mode="letter", seed=seed)
        assert table.views[WHOLE].right == (True,)
    orders = {question.split("\n")[1] for question in black.asked}
    assert len(orders) == 2 and all("option's letter" in question for question in black.asked)


def test_an_answer_that_names_no_option_is_wrong_and_counted(vstar):
    questions, _ = read_vstar(vstar)
    table = evaluate_answers("v", questions, Says(lambda question: "It depends."), [], [], mode="letter")
    assert table.views[WHOLE] == Answers((False, False), (True, True), 2)


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_asked(vstar):
    (vstar / "direct_attributes" / "sa_1.jpg").write_bytes(b"torn")
    questions, _ = read_vstar(vstar)
    table = evaluate_answers("v", questions, Says(lambda question: "A"), [], [], mode="letter")
    assert table.questions == ("relative_position/sa_2",) and "direct_attributes/sa_1" in table.bad[0]


def test_intervals_and_the_paired_test_are_those_of_the_textbook():
    views = {WHOLE: Answers((True,) * 4 + (False,) * 6, (True,) * 10, 0)}
    views["crop, x"] = Answers((True,) * 3 + (False,) + (True,) * 6, (True,) * 10, 0)
    table = AnswerTable("d", "m", "likelihood", tuple("0123456789"), ("g",) * 10, views, ())
    whole = table.accuracy(WHOLE)
    assert (whole.value, whole.low, whole.high) == pytest.approx((0.4, 0.1682, 0.6873), abs=1e-4)
    change, p = table.versus_whole("crop, x")
    assert change.value == pytest.approx(0.5) and p == pytest.approx(2 * 8 / 2**7)


def test_the_command_writes_a_report_and_refuses_what_it_does_not_know(ivm, vstar, tmp_path):
    status, _, err = ivm("vstar", "--data", vstar, "-o", tmp_path / "r.html")
    assert status == 2 and ".md or .json" in err
    status, _, err = ivm("vstar", "--data", vstar, "--how", "sepia", "-o", tmp_path / "r.md")
    assert status == 2 and "overlay+crop, got 'sepia'" in err
    status, _, err = ivm("vstar", "--data", vstar, "--lmm", "sam?path=zoo:segmenter", "-o", tmp_path / "r.md")
    assert status == 2 and "answers no questions" in err
    (vstar / "direct_attributes" / "bad.json").write_text("{")
    status, out, err = ivm("vstar", "--data", vstar, "-o", tmp_path / "r.json")
    assert status == 3 and "bad.json" in err and "crop, truth" in out
    facts = json.loads((tmp_path / "r.json").read_text())
    assert len(facts["views"]["crop, truth"]["right"]) == 2 and facts["bad"]


def test_an_unknown_way_to_mask_is_refused_before_anything_is_asked(search):
    with pytest.raises(ConfigError, match="overlay"):
        evaluate_answers("search", search, None, ["sepia"], [])


def test_likelihoods_are_those_of_a_plain_forward_of_each_answer_alone(lmm, search):
    images = [np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8) for seed in range(2)]
    texts = ["What colour is the ring?", "What shape is the small striped red thing?"]
    options = [["red", "small striped green"], ["cross"]]
    found = lmm.choose(images, texts, options)
    processor, model = lmm._processor, lmm._model
    for image_HWC, text, some, got in zip(images, texts, options, found, strict=True):
        for option, chance in zip(some, got, strict=True):
            prompt = processor(images=image_HWC, text=f"<s><image>{text}ASSISTANT:", return_tensors="pt")
            answer = processor.tokenizer(option, add_special_tokens=False, return_tensors="pt")["input_ids"]
            ids = torch.cat([prompt["input_ids"], answer], 1)
            logits = model(input_ids=ids, pixel_values=prompt["pixel_values"]).logits[0].log_softmax(-1)
            length = answer.shape[1]
            chances = [float(logits[-length - 1 + k, answer[0, k]]) for k in range(length)]
            assert chance == pytest.approx(np.mean(chances), abs=1e-4)
