from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GroundingDinoForObjectDetection

import ivm_data.zoo
from ivm_data.experts.grounders import detections
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.worlds.grammar import compose
from ivm_data.worlds.scene import draw_scene

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights" / "grounder"


@pytest.fixture(scope="module")
def grounder():
    return GroundingDino(GroundingDinoConfig(str(WEIGHTS), box_threshold=0.05))


@pytest.fixture(scope="module")
def asked():
    """(scene, pair) for attribute instructions on scenes that no training saw."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene("val", index) for index in range(5000, 5080)]
    pairs = [(scene, compose(scene, "attribute", rng)) for scene in scenes]
    return [(scene, pair) for scene, pair in pairs if pair is not None]


def iou(first, second):
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (first.area + second.area - shared)


def rows(detections):
    return np.array([[d.box.x0, d.box.y0, d.box.x1, d.box.y1, 100 * d.score] for d in detections]).reshape(-1, 5)


def same(first, second):
    assert [d.phrase for d in first] == [d.phrase for d in second]
    assert np.allclose(rows(first), rows(second), atol=0.02)


def test_the_name_is_known_before_the_weights_are_read():
    expert = GroundingDino(GroundingDinoConfig(str(WEIGHTS)))
    model, revision = expert.name.split("@")
    assert model == "grounder" and len(revision) == 8
    assert expert._model is None


def test_the_best_box_lies_on_the_described_thing(grounder, asked):
    found = grounder.ground([scene.image_HWC for scene, _ in asked], [pair.phrases for _, pair in asked])
    hits = [
        bool(row) and iou(row[0].box, scene.things[pair.targets[0]].box) >= 0.5
        for (scene, pair), row in zip(asked, found, strict=True)
    ]
    assert np.mean(hits) > 0.8


def test_a_phrase_that_fits_several_things_gives_a_box_for_each(grounder):
    scenes = [draw_scene("val", index) for index in range(5000, 5030)]
    phrases = [f"{scene.things[0].colour} {scene.things[0].shape}" for scene in scenes]
    found = grounder.ground([scene.image_HWC for scene in scenes], [[phrase] for phrase in phrases])
    hits = wanted = 0
    for scene, row in zip(scenes, found, strict=True):
        first = scene.things[0]
        targets = [t for t in scene.things if (t.colour, t.shape) == (first.colour, first.shape)]
        wanted += len(targets)
        hits += sum(any(d.score > 0.3 and iou(d.box, t.box) >= 0.5 for d in row) for t in targets)
    assert wanted > len(scenes) and hits / wanted > 0.8


def test_detections_come_best_first_with_scores_and_boxes_in_range(grounder, asked):
    for (scene, pair), row in zip(asked[:10], ground_all(grounder, asked[:10]), strict=True):
        scores = [d.score for d in row]
        assert scores == sorted(scores, reverse=True) and all(0.05 <= score <= 1 for score in scores)
        assert {d.phrase for d in row} <= set(pair.phrases)
        assert all(0 <= d.box.x0 < d.box.x1 <= 128 and 0 <= d.box.y0 < d.box.y1 <= 128 for d in row)
        assert scene.image_HWC.shape == (128, 128, 3)


def ground_all(grounder, asked):
    return grounder.ground([scene.image_HWC for scene, _ in asked], [pair.phrases for _, pair in asked])


def test_boxes_of_one_phrase_do_not_overlap_more_than_allowed(asked):
    strict = GroundingDino(GroundingDinoConfig(str(WEIGHTS), box_threshold=0.0, nms_iou=0.3))
    for row in ground_all(strict, asked[:5]):
        assert all(iou(a.box, b.box) <= 0.3 + 1e-6 for i, a in enumerate(row) for b in row[:i])


def test_a_batch_gives_what_single_images_give(grounder, asked):
    images = [scene.image_HWC for scene, _ in asked[:12]]
    phrases = [
        (*pair.phrases, *["blue star", "small dotted white ring", "thing"][: i % 4])
        for i, (_, pair) in enumerate(asked[:12])
    ]
    for image, asked_for, row in zip(images, phrases, grounder.ground(images, phrases), strict=True):
        same(grounder.ground([image], [asked_for])[0], row)


def test_images_of_other_sizes_in_the_batch_change_nothing(grounder, asked):
    square = asked[0][0].image_HWC
    wide = np.pad(asked[1][0].image_HWC, [(0, 0), (0, 80), (0, 0)])
    tall = asked[2][0].image_HWC.repeat(2, axis=0).repeat(2, axis=1)[:, :200]
    images, phrases = [square, wide, tall, square], [["red thing"], ["big ring"], ["star"], ["blue thing", "circle"]]
    for image, asked_for, row in zip(images, phrases, grounder.ground(images, phrases), strict=True):
        same(grounder.ground([image], [asked_for])[0], row)


def test_boxes_come_back_in_the_frame_of_a_larger_image(grounder, asked):
    (small,) = ground_all(grounder, asked[:1])
    large_HWC = asked[0][0].image_HWC.repeat(4, axis=0).repeat(4, axis=1)
    (large,) = grounder.ground([large_HWC], [asked[0][1].phrases])
    assert np.allclose(rows(small)[0, :4] * 4, rows(large)[0, :4], atol=16)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 700, 3), (900, 8, 3), (16, 16, 3)])
def test_tiny_and_very_narrow_images_are_read(grounder, shape):
    image_HWC = np.full(shape, 120, np.uint8)
    for detection in grounder.ground([image_HWC], [["red ring"]])[0]:
        assert detection.box.x1 <= shape[1] and detection.box.y1 <= shape[0]


def test_more_phrases_than_a_caption_holds_are_spread_over_several(grounder, asked):
    others = [
        f"{size} dotted {colour} ring" for size in ("small", "big") for colour in ("red", "blue", "white", "green")
    ]
    phrases = [[*others, *pair.phrases] for _, pair in asked[:20]]
    found = grounder.ground([scene.image_HWC for scene, _ in asked[:20]], phrases)
    best = [
        next((d for d in row if d.phrase == asked_for[-1]), None) for row, asked_for in zip(found, phrases, strict=True)
    ]
    hits = [
        top is not None and iou(top.box, scene.things[pair.targets[0]].box) >= 0.5
        for top, (scene, pair) in zip(best, asked[:20], strict=True)
    ]
    assert np.mean(hits) > 0.7


def test_no_phrases_no_words_and_no_images_give_nothing(grounder, asked):
    image = asked[0][0].image_HWC
    assert grounder.ground([image, image], [[], [" . "]]) == [[], []]
    assert grounder.ground([], []) == []


def test_an_unknown_word_scores_below_a_present_thing(grounder, asked):
    found = grounder.ground([s.image_HWC for s, _ in asked], [[p.phrases[0], "zebra"] for _, p in asked])
    best = [
        [max((d.score for d in row if d.phrase == phrase), default=0) for phrase in (p.phrases[0], "zebra")]
        for (_, p), row in zip(asked, found, strict=True)
    ]
    known, unknown = np.array(best).T
    assert np.mean(known > unknown) > 0.9


def test_a_missing_list_of_phrases_is_refused(grounder, asked):
    with pytest.raises(ValueError, match="one list of phrases for each image, got 1 for 2"):
        grounder.ground([asked[0][0].image_HWC] * 2, [["ring"]])


@pytest.mark.parametrize(
    "wrong", [{"box_threshold": 1.5}, {"nms_iou": 0.0}, {"images_per_batch": 0}, {"dtype": "int8"}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' must"):
        GroundingDinoConfig("anywhere", **wrong)


def test_the_committed_directory_loads_through_the_auto_classes():
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    model = AutoModelForZeroShotObjectDetection.from_pretrained(WEIGHTS)
    assert type(model).__name__ == "GroundingDinoForObjectDetection"
    assert type(AutoProcessor.from_pretrained(WEIGHTS)).__name__ == "GroundingDinoProcessor"


def test_half_precision_moves_boxes_by_less_than_a_tenth_of_a_pixel(grounder, asked):
    images, phrases = [scene.image_HWC for scene, _ in asked[:8]], [pair.phrases for _, pair in asked[:8]]
    half = GroundingDino(GroundingDinoConfig(str(WEIGHTS), box_threshold=0.05, dtype="float16"))
    pairs = list(zip(grounder.ground(images, phrases), half.ground(images, phrases), strict=True))
    assert all(first and second for first, second in pairs)
    assert all(np.abs(rows(first)[0, :4] - rows(second)[0, :4]).max() < 0.1 for first, second in pairs)


def test_counting_tokens_in_one_thread_leaves_batches_of_another_padded(grounder):
    grounder.load()
    grounder._tokenizer(["a", "longer text"], padding=True)
    assert grounder._count_tokens("red ring") == 2
    assert grounder._tokenizer._tokenizer.padding is not None


@torch.inference_mode()
def test_what_is_shared_and_folded_changes_no_output_of_the_model(grounder, asked):
    grounder.load()
    plain = GroundingDinoForObjectDetection.from_pretrained(WEIGHTS).eval()
    captions = ["red ring .", "small green star . big blue square .", "thing ."]
    text = AutoTokenizer.from_pretrained(WEIGHTS)(captions, padding=True, return_tensors="pt")
    image_BCHW = torch.stack([grounder._pixels(asked[i][0].image_HWC) for i in (0, 0, 1)])
    expected, found = (model(pixel_values=image_BCHW, **text) for model in (plain, grounder._model))
    assert expected.logits[..., 1].sigmoid().std() > 0.01
    assert torch.allclose(found.logits.sigmoid(), expected.logits.sigmoid(), atol=1e-4)
    assert torch.allclose(found.pred_boxes, expected.pred_boxes, atol=1e-4)


def test_parts_of_a_batch_that_fit_a_cpu_cache_change_nothing(grounder, asked, monkeypatch):
    images = [scene.image_HWC for scene, _ in asked[:3] for _ in range(2)]
    phrases = [pair.phrases for _, pair in asked[:6]]
    together = grounder.ground(images, phrases)
    grounder = GroundingDino(grounder.config)  # a fresh one: what the other keeps of an image saves passes
    grounder.load()
    passes = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: passes.append(name))
        for name, module in (
            ("model", grounder._model),
            ("backbone", grounder._model.model.backbone.conv_encoder.model),
        )
    ]
    monkeypatch.setattr(detections, "CPU_PIXELS", 1)
    apart = grounder.ground(images, phrases)
    for hook in hooks:
        hook.remove()
    assert passes.count("model") == 6 and passes.count("backbone") == 3
    for first, second in zip(together, apart, strict=True):
        same(first, second)
