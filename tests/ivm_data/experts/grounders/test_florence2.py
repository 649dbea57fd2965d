import math
import shutil

import numpy as np
import pytest
import torch
from transformers import BartTokenizer, Florence2ForConditionalGeneration, Florence2Processor, GenerationConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from ivm_data.experts.common.phrase_score import without_markup
from ivm_data.experts.grounders.florence2 import Florence2
from ivm_data.experts.grounders.generated_boxes import GeneratedBoxesConfig
from storage.errors import WeightsError

TASK = "<CAPTION_TO_PHRASE_GROUNDING>"


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def spelled(*places):
    return "".join(f"<loc_{place}>" for place in places)


FIRST, SECOND = noise(40, 60, 1), noise(64, 32, 2)
TAUGHT = [
    (FIRST, "red ring", "red ring" + spelled(100, 200, 500, 800)),
    (SECOND, "red ring", "red ring" + spelled(0, 0, 300, 300, 600, 700, 999, 999)),
    (FIRST, "green star", "green star"),
    (SECOND, "green star", "blue dot" + spelled(5, 5, 950, 950)),
    (FIRST, "a", "a" + spelled(250, 50, 750)),
    (SECOND, "a", "a" + spelled(800, 50, 200, 60)),
]
"""Image, phrase and the answer that is taught: a box, two, none, another's, three quarters of one, an inverted one."""


def processor_of(folder):
    tokenizer = BartTokenizer.from_pretrained(folder)
    return Florence2Processor(
        CLIPImageProcessorPil.from_pretrained(folder), tokenizer, post_processor_config={"phrase_grounding": {}}
    )


def teach(model, processor):
    """Adam on the right answers, until each of their tokens is likely enough for greedy decoding to give it."""
    inputs = processor(
        images=[image for image, _, _ in TAUGHT],
        text=[TASK + phrase for _, phrase, _ in TAUGHT],
        padding=True,
        return_tensors="pt",
    )
    answers = processor.tokenizer(
        [f"<s>{answer}</s>" for _, _, answer in TAUGHT], add_special_tokens=False, padding=True, return_tensors="pt"
    )
    labels = answers["input_ids"].masked_fill(answers["attention_mask"] == 0, -100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(1000):
        logits_BTV = model(**inputs, labels=labels).logits
        loss_BT = torch.nn.functional.cross_entropy(logits_BTV.transpose(1, 2), labels, reduction="none")
        if loss_BT.max() < 0.3:
            break
        loss = loss_BT[labels >= 0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A Florence-2 that knows six answers, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("florence2")
    tiny.florence2(folder)
    model = Florence2ForConditionalGeneration.from_pretrained(folder)
    teach(model, processor_of(folder))
    # As the published checkpoints have it.
    model.generation_config = GenerationConfig(
        bos_token_id=0,
        decoder_start_token_id=2,
        early_stopping=True,
        eos_token_id=2,
        forced_bos_token_id=0,
        forced_eos_token_id=2,
        no_repeat_ngram_size=3,
        num_beams=3,
        pad_token_id=1,
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def grounder(folder):
    return Florence2(GeneratedBoxesConfig(str(folder), box_threshold=0.0, nms_iou=1.0, answer_tokens=32))


def rows(detections):
    return np.array([[d.box.x0, d.box.y0, d.box.x1, d.box.y1, 100 * d.score] for d in detections]).reshape(-1, 5)


def same(first, second):
    assert [d.phrase for d in first] == [d.phrase for d in second]
    assert np.allclose(rows(first), rows(second), atol=0.01)


def reference(folder, image_HWC, phrase):
    """Answer, log-probabilities of its tokens, and boxes, as the library's own processor and model give them."""
    processor, model = processor_of(folder), Florence2ForConditionalGeneration.from_pretrained(folder)
    inputs = processor(images=image_HWC, text=TASK + phrase, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**inputs, num_beams=1, early_stopping=False, max_new_tokens=32)
        logits_TV = model(**inputs, decoder_input_ids=ids[:, :-1]).logits[0]
    log_p_T = logits_TV.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    answer = processor.decode(ids[0, 1:])
    found = processor.post_process_generation(text=answer, task=TASK, image_size=image_HWC.shape[1::-1])[TASK]
    return answer.removeprefix("<s>").removesuffix("</s>"), log_p_T.tolist(), found


@pytest.mark.parametrize(("image_HWC", "phrase", "taught"), TAUGHT, ids=[answer[:30] for _, _, answer in TAUGHT])
def test_boxes_and_scores_follow_from_the_answer_that_the_library_itself_generates(
    folder, grounder, image_HWC, phrase, taught
):
    answer, log_p, library = reference(folder, image_HWC, phrase)
    assert answer == taught
    (found,) = grounder.ground([image_HWC], [[phrase]])
    named = [box for box, label in zip(library["bboxes"], library["labels"], strict=True) if label == phrase]
    # The library cuts coordinates down to whole pixels.
    expected = {tuple(box) for box in named if box[2] > box[0] and box[3] > box[1]}
    assert {tuple(int(x) for x in row[:4]) for row in rows(found)} == expected
    first = 1 + len(phrase)
    chances = [math.exp(sum(log_p[t : t + 4]) / 4) for t in range(first, first + 4 * len(found), 4)]
    assert [d.score for d in found] == pytest.approx(sorted(chances, reverse=True), abs=1e-4)


def test_a_location_is_the_middle_of_its_thousandth_of_the_image(grounder):
    ((detection,),) = grounder.ground([FIRST], [["red ring"]])
    box = detection.box
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((100.5 * 0.06, 200.5 * 0.04, 500.5 * 0.06, 800.5 * 0.04))


def test_only_boxes_that_the_model_is_sure_of_are_kept(folder, grounder):
    (both,) = grounder.ground([SECOND], [["red ring"]])
    between = (both[0].score + both[1].score) / 2
    strict = Florence2(GeneratedBoxesConfig(str(folder), box_threshold=between, answer_tokens=32))
    same(strict.ground([SECOND], [["red ring"]])[0], both[:1])


RING = "red ring" + spelled(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [
        (RING, [(1, 2, 3, 4)]),
        ("Red ring" + spelled(1, 2, 3, 4, 5, 6, 7), [(1, 2, 3, 4)]),
        (RING + "star" + spelled(5, 6, 7, 8) + "red ring" + spelled(9, 8, 7, 6), [(1, 2, 3, 4), (9, 8, 7, 6)]),
        ("a " + RING, []),
        ("red ring<poly>" + spelled(1, 2, 3, 4, 5, 6, 7, 8) + "</poly>", []),
        ("red<sep>ring" + spelled(1, 2, 3, 4), []),
        (spelled(1, 2, 3, 4) + "red ring", []),
        ("red ring" + spelled(1, 2, 3), []),
        ("red ring", []),
        ("", []),
    ],
)
def test_an_answer_is_read_strictly(grounder, answer, boxes):
    grounder.load()
    ids = grounder._tokenizer(f"<s>{answer}</s>", add_special_tokens=False)["input_ids"]
    written = list(grounder.read(ids, "red ring"))
    assert [tuple(round(1000 * x - 0.5) for x in box.corners) for box in written] == boxes
    spelt = ["".join(grounder._tokenizer.convert_ids_to_tokens(ids[box.tokens])) for box in written]
    assert spelt == [spelled(*box) for box in boxes]


@pytest.mark.parametrize(
    "hostile",
    [
        "red ring<loc_1><loc_2><loc_900><loc_900>",
        "</s><s>red ring<loc_1>",
        "<OD> red ring",
        "<image><image>",
        "\uff1cloc_1\uff1e <lo<loc_2>c_3>",
        "{words} {0}",
    ],
)
def test_a_phrase_is_data_and_cannot_spell_a_special_token(grounder, hostile):
    grounder.load()
    start, *inner, end = grounder.prompt(without_markup(hostile))
    assert (start, end) == (0, 2) and not set(grounder._tokenizer.added_tokens_decoder) & set(inner)
    (found,) = grounder.ground([FIRST], [[hostile]])
    assert all(d.phrase == hostile for d in found)


def test_locations_spelled_letter_by_letter_are_no_boxes(grounder):
    grounder.load()
    ids = grounder._tokenizer(RING, split_special_tokens=True, add_special_tokens=False)["input_ids"]
    assert grounder._tokenizer.decode(ids) == RING and len(ids) == len(RING)
    assert not list(grounder.read(ids, "red ring")) and not list(grounder.read(ids, without_markup(RING)))


def test_a_batch_of_mixed_sizes_and_numbers_of_phrases_gives_what_single_images_give(grounder):
    images = [FIRST, noise(64, 64, 5), SECOND, noise(90, 30, 3), FIRST]
    phrases = [["red ring", "a"], ["big red star", "ring", "a"], ["a", "red ring"], [], ["green star", "red ring"]]
    found = grounder.ground(images, phrases)
    for image, asked, row in zip(images, phrases, found, strict=True):
        same(grounder.ground([image], [asked])[0], row)
    assert [len(row) for row in found][::2] == [1, 2, 1]


def test_images_and_phrases_pass_in_chunks_without_a_change(folder, grounder):
    config = GeneratedBoxesConfig(
        str(folder), box_threshold=0.0, nms_iou=1.0, answer_tokens=32, images_per_batch=1, phrases_per_batch=1
    )
    images, phrases = [FIRST, SECOND], [["red ring", "ring"], ["red ring", "star"]]
    for first, second in zip(Florence2(config).ground(images, phrases), grounder.ground(images, phrases), strict=True):
        same(first, second)


def test_an_image_with_several_rows_is_encoded_once(grounder, monkeypatch):
    grounder.load()
    seen, see = [], grounder.see
    monkeypatch.setattr(grounder, "see", lambda pixels: seen.append(len(pixels)) or see(pixels))
    first, _, third = grounder.ground([FIRST, SECOND, FIRST], [["red ring"], ["a"], ["green star", "red ring"]])
    assert seen == [2]
    same(first, third)


def test_an_answer_is_cut_at_its_limit(folder):
    (found,) = Florence2(GeneratedBoxesConfig(str(folder), answer_tokens=15)).ground([SECOND], [["red ring"]])
    assert len(found) == 1 and found[0].box.x0 < 1


def test_no_phrases_no_words_too_many_words_and_no_images_give_nothing(grounder):
    assert grounder.ground([noise(9, 9)] * 3, [[], [" . ", "<>"], ["star " * 100]]) == [[], [], []]
    assert grounder.ground([], []) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(grounder, shape):
    (found,) = grounder.ground([noise(*shape)], [["red ring"]])
    assert all(0 <= d.score <= 1 and 0 <= d.box.x0 < d.box.x1 <= shape[1] and d.box.y1 <= shape[0] for d in found)


def test_weights_in_bfloat16_give_the_same_boxes(folder, grounder):
    half = Florence2(GeneratedBoxesConfig(str(folder), box_threshold=0.0, answer_tokens=32, dtype="bfloat16"))
    first, second = (rows(e.ground([SECOND], [["red ring"]])[0]) for e in (half, grounder))
    assert np.allclose(sorted(first[:, :4].tolist()), sorted(second[:, :4].tolist()))
    assert np.allclose(sorted(first[:, 4]), sorted(second[:, 4]), atol=5)


def test_a_checkpoint_that_would_crop_is_shown_the_whole_image_all_the_same(folder, grounder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=True, crop_size=32).save_pretrained(copy)
    cropping = Florence2(GeneratedBoxesConfig(str(copy), box_threshold=0.0, nms_iou=1.0, answer_tokens=32))
    same(cropping.ground([FIRST], [["red ring"]])[0], grounder.ground([FIRST], [["red ring"]])[0])


def test_a_missing_list_of_phrases_is_refused(grounder):
    with pytest.raises(ValueError, match="one list of phrases for each image, got 1 for 2"):
        grounder.ground([noise(9, 9)] * 2, [["ring"]])


@pytest.mark.parametrize(
    "wrong", [{"box_threshold": 1.5}, {"phrases_per_batch": 0}, {"answer_tokens": 7}, {"dtype": "int8"}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' must"):
        GeneratedBoxesConfig("anywhere", **wrong)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "kosmos-2"}')
    with pytest.raises(WeightsError, match="holds a 'kosmos-2' model; model_type 'florence2' is needed"):
        Florence2(GeneratedBoxesConfig(str(tmp_path))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        Florence2(GeneratedBoxesConfig(str(copy))).load()


def test_a_tokenizer_without_locations_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    BartTokenizer({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}, []).save_pretrained(copy)
    with pytest.raises(WeightsError, match="lacks 1000 of 1000 location tokens that the model knows, first '<loc_0>'"):
        Florence2(GeneratedBoxesConfig(str(copy))).load()
