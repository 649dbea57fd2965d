import hashlib
import os
import subprocess
import sys
from functools import cache

import cv2
import numpy as np
import pytest

from ivm_data.worlds.scene import (
    ACROSS,
    ATTRIBUTES,
    COLOURS,
    COUNTS,
    HELD_OUT,
    IMAGE_SIZE,
    MIN_VISIBLE,
    RGB,
    SHAPES,
    SIZES,
    TEXTURES,
    draw_scene,
    seeded,
)
from storage.errors import ConfigError

SPLITS = ("train", "val", "test")


@cache
def _scenes(*splits):
    return [draw_scene(split, index) for split in splits for index in range(150)]


def _things(*splits):
    return [thing for scene in _scenes(*splits) for thing in scene.things]


def _digest(scene):
    masks = b"".join(thing.mask_HW.tobytes() for thing in scene.things)
    words = repr([(thing.shape, thing.colour, thing.size, thing.texture, thing.box) for thing in scene.things])
    return hashlib.sha256(scene.image_HWC.tobytes() + masks + words.encode()).hexdigest()


def test_a_scene_is_the_same_on_every_call():
    for split in SPLITS:
        for index in (0, 7, 149):
            assert _digest(draw_scene(split, index)) == _digest(_scenes(split)[index])


def test_a_scene_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from ivm_data.worlds.scene import draw_scene; import hashlib;"
        "print(hashlib.sha256(draw_scene('test', 3).image_HWC.tobytes()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert told.strip() == hashlib.sha256(_scenes("test")[3].image_HWC.tobytes()).hexdigest()


def test_no_two_splits_scenes_or_streams_share_a_seed():
    states = {
        tuple(seeded(split, index, stream).bit_generator.seed_seq.generate_state(4))
        for split in SPLITS
        for index in range(300)
        for stream in range(3)
    }
    assert len(states) == len(SPLITS) * 300 * 3


def test_no_two_scenes_are_alike():
    assert len({_digest(scene) for scene in _scenes(*SPLITS)}) == len(_scenes(*SPLITS))


def test_held_out_combinations_appear_in_the_test_split_only():
    shown = {split: {(t.colour, t.shape) for s in _scenes(split) for t in s.things} for split in SPLITS}
    every_pair = {(colour, shape) for colour in COLOURS for shape in SHAPES}
    assert every_pair > HELD_OUT
    assert shown["test"] == every_pair
    assert shown["train"] == every_pair - HELD_OUT
    assert shown["val"] == every_pair - HELD_OUT


def test_held_out_combinations_come_at_their_natural_frequency_in_the_test_split():
    novel = [(t.colour, t.shape) in HELD_OUT for scene in _scenes("test") for t in scene.things]
    natural = len(HELD_OUT) / (len(COLOURS) * len(SHAPES))
    assert natural - 0.05 < np.mean(novel) < natural + 0.08


def test_every_held_out_word_is_seen_in_training_in_other_combinations():
    held_colours, held_shapes = {colour for colour, _ in HELD_OUT}, {shape for _, shape in HELD_OUT}
    seen = [thing for scene in _scenes("train") for thing in scene.things]
    assert held_colours <= {thing.colour for thing in seen}
    assert held_shapes <= {thing.shape for thing in seen}


def test_every_attribute_word_and_every_count_occurs():
    for name, words in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("texture", TEXTURES)):
        assert {getattr(thing, name) for thing in _things(*SPLITS)} == set(words) == set(ATTRIBUTES[name])
    assert {len(scene.things) for scene in _scenes(*SPLITS)} == set(range(COUNTS[0], COUNTS[1] + 1))


def test_images_are_square_rgb_bytes():
    for scene in _scenes(*SPLITS):
        assert scene.image_HWC.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert scene.image_HWC.dtype == np.uint8


def test_masks_are_disjoint_and_boxes_fit_them_tightly():
    for scene in _scenes(*SPLITS):
        assert np.sum([thing.mask_HW for thing in scene.things], axis=0).max() == 1
    for thing in _things(*SPLITS):
        assert thing.mask_HW.dtype == bool
        ys, xs = np.nonzero(thing.mask_HW)
        box = thing.box
        assert (box.x0, box.y0, box.x1, box.y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_every_thing_keeps_enough_visible_pixels():
    assert min(thing.visible for thing in _things(*SPLITS)) >= MIN_VISIBLE >= 0.4
    assert min(int(thing.mask_HW.sum()) for thing in _things(*SPLITS)) >= 35
    assert 0.1 < np.mean([thing.visible < 1 for thing in _things(*SPLITS)]) < 0.5


def test_uncovered_things_are_as_wide_as_their_size_says():
    for thing in _things(*SPLITS):
        if thing.visible == 1:
            across = max(thing.box.x1 - thing.box.x0, thing.box.y1 - thing.box.y0)
            least, greatest = ACROSS[thing.size]
            assert 0.8 * least <= across <= 1.25 * greatest + 2


def test_inside_a_plain_mask_lies_the_colour_of_the_word():
    for scene in _scenes(*SPLITS):
        for thing in scene.things:
            core = cv2.erode(thing.mask_HW.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            if thing.texture == "plain" and core.sum() >= 12:
                median = np.median(scene.image_HWC[core], axis=0)
                nearest = min(RGB, key=lambda word: np.abs(np.array(RGB[word]) - median).sum())
                assert nearest == thing.colour


def test_outside_every_mask_no_pixel_has_an_object_colour():
    for scene in _scenes(*SPLITS):
        covered = np.any([thing.mask_HW for thing in scene.things], axis=0).astype(np.uint8)
        free = cv2.dilate(covered, np.ones((5, 5), np.uint8)) == 0
        smooth = cv2.blur(scene.image_HWC, (3, 3)).astype(int)[free]
        assert (smooth.max(axis=1) - smooth.min(axis=1)).max() < 70
        assert smooth.min(axis=1).max() < 190


def test_a_mask_ends_where_its_colour_fades_by_half():
    inner, outer = [], []
    for scene in _scenes(*SPLITS):
        chroma_HW = scene.image_HWC.max(axis=2).astype(float) - scene.image_HWC.min(axis=2)
        covered = np.any([thing.mask_HW for thing in scene.things], axis=0)
        for thing in scene.things:
            mask, kernel = thing.mask_HW.astype(np.uint8), np.ones((3, 3), np.uint8)
            around = (cv2.dilate(mask, kernel) > 0) & ~thing.mask_HW
            alone = not (covered & around).any() and thing.visible == 1
            if alone and thing.texture == "plain" and thing.colour != "white":
                edge = thing.mask_HW & (cv2.erode(mask, kernel) == 0)
                whole = np.median(chroma_HW[thing.mask_HW])
                inner.append(chroma_HW[edge].mean() / whole)
                outer.append(chroma_HW[around].mean() / whole)
    assert len(inner) > 50
    assert np.mean(inner) > 0.75
    assert 0.15 < np.mean(outer) < 0.4


def test_textures_can_be_told_apart_on_small_things_too():
    spread = {"plain": [], "striped": [], "dotted": []}
    for scene in _scenes(*SPLITS):
        for thing in scene.things:
            if thing.size == "small" and thing.visible == 1:
                values = scene.image_HWC.max(axis=2)[thing.mask_HW].astype(float)
                spread[thing.texture].append(values.std() / values.mean())
    for texture in ("striped", "dotted"):
        assert np.median(spread[texture]) > 2 * np.median(spread["plain"])


@pytest.mark.parametrize(("split", "index", "said"), [("dev", 0, "'dev'"), ("train", -1, "-1")])
def test_a_wrong_split_or_index_is_named(split, index, said):
    with pytest.raises(ConfigError, match=said):
        draw_scene(split, index)
