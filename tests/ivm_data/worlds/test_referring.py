"""What the further kinds say is true, and nobody could argue: checked by other means than it was made."""

import hashlib
import math
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from ivm_data.experts.lmms.request_line import format_line
from ivm_data.worlds.grammar import ALL_KINDS, KINDS, MORE_KINDS, compose
from ivm_data.worlds.scene import HELD_OUT, draw_scene, seeded
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError
from storage.request import ALL

SPLITS = ("train", "val", "test")
SCENES = 70
AXIS = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
WORDS = {1: "first", 2: "second", 3: "third"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@cache
def _pairs():
    found = []
    for split in SPLITS:
        for index in range(SCENES):
            scene, rng = draw_scene(split, index), seeded(split, index, 9)
            found += [(scene, pair) for kind in MORE_KINDS if (pair := compose(scene, kind, rng)) is not None]
    return found


def _of(kind):
    return [(scene, pair) for scene, pair in _pairs() if pair.kind == kind]


def _fits(thing, phrase):
    words = [word for word in phrase.split() if word not in ("thing", "object")]
    return all(word in (thing.shape, thing.colour, thing.size, thing.texture) for word in words)


def _picked(scene, phrase):
    return [i for i, thing in enumerate(scene.things) if _fits(thing, phrase)]


def _along(thing, side):
    axis, sign = AXIS[side]
    return thing.box.center[axis] * sign


def _distance(scene, i, j):
    return math.dist(scene.things[i].box.center, scene.things[j].box.center)


@pytest.mark.parametrize("kind", MORE_KINDS)
def test_every_kind_occurs_in_most_scenes(kind):
    assert len(_of(kind)) > 0.55 * len(SPLITS) * SCENES


@pytest.mark.parametrize("kind", ["ordinal", "superlative"])
def test_what_is_ranked_stands_in_its_place_by_a_margin(kind):
    for scene, pair in _of(kind):
        (asked,) = pair.request.things
        if asked.order in ("largest", "smallest"):
            continue
        ranked = sorted(_picked(scene, asked.noun), key=lambda i: _along(scene.things[i], asked.order))
        assert (ranked[asked.rank - 1],) == pair.targets and len(ranked) >= max(2, asked.rank)
        others = [_along(scene.things[i], asked.order) for i in ranked if i not in pair.targets]
        assert min(abs(_along(scene.things[pair.targets[0]], asked.order) - other) for other in others) >= 8


def test_the_place_and_the_side_are_said():
    for _, pair in _of("ordinal"):
        (asked,) = pair.request.things
        assert f" {WORDS[asked.rank]} " in pair.instruction and f" {asked.order}" in pair.instruction


def test_the_largest_is_half_again_as_large_as_any_other():
    seen = Counter()
    for scene, pair in _of("superlative"):
        (asked,) = pair.request.things
        seen[asked.order] += 1
        if asked.order not in ("largest", "smallest"):
            continue
        (target,) = pair.targets
        own = scene.things[target].mask_HW.sum()
        for i in set(_picked(scene, asked.noun)) - {target}:
            other = scene.things[i].mask_HW.sum()
            assert own >= 1.5 * other if asked.order == "largest" else other >= 1.5 * own
    assert set(seen) == {*AXIS, "largest", "smallest"}


def test_what_is_between_lies_near_the_line_and_nothing_else_that_fits_does():
    for scene, pair in _of("between"):
        asked, *named = pair.request.things
        anchors = [i for one in named for i in _picked(scene, one.expression)]
        assert len(anchors) == 2
        ends = np.array([scene.things[i].box.center for i in anchors])
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        for i in set(_picked(scene, asked.expression)) - set(anchors):
            way = np.array(scene.things[i].box.center) - ends[0]
            share = way @ along / np.linalg.norm(ends[1] - ends[0])
            aside = abs(way[0] * along[1] - way[1] * along[0]) / np.linalg.norm(ends[1] - ends[0])
            if i in pair.targets:
                assert 0 < share < 1 and aside < 0.2
            else:
                assert not 0 < share < 1 or aside**2 >= share * (1 - share) - 1e-9
        assert len(pair.targets) == 1 and not set(pair.targets) & set(anchors)


def test_what_is_nearest_or_farthest_is_so_by_a_wide_margin():
    seen = Counter()
    for scene, pair in _of("nearest"):
        asked, other = pair.request.things
        (anchor,) = _picked(scene, other.expression)
        (target,) = pair.targets
        rivals = set(_picked(scene, asked.expression)) - {anchor, target}
        assert rivals and target != anchor
        own = _distance(scene, target, anchor)
        for rival in rivals:
            far = _distance(scene, rival, anchor)
            assert far >= 1.4 * own if other.relation == "nearest to" else own >= 1.4 * far
        seen[other.relation] += 1
    assert len(seen) == 2


def test_exactly_one_thing_is_left_by_a_negation_and_several_by_all_but():
    for kind in ("negation", "all_but"):
        for scene, pair in _of(kind):
            asked, excluded = pair.request.things
            left = [i for i in _picked(scene, asked.expression) if not _fits(scene.things[i], excluded.expression)]
            assert tuple(left) == pair.targets
            assert _picked(scene, excluded.expression)
            (word,) = set(excluded.expression.split()) - set(asked.expression.split())
            assert word in pair.instruction
            assert len(left) == 1 if kind == "negation" else len(left) >= 2
            assert (asked.count == ALL) == (kind == "all_but")


def test_exactly_as_many_exist_as_are_asked_for():
    for scene, pair in _of("number"):
        (asked,) = pair.request.things
        assert tuple(_picked(scene, asked.expression)) == pair.targets
        assert asked.count == len(pair.targets) and f" {NUMBERS[asked.count]} " in f" {pair.instruction.lower()}"
    assert len({len(pair.targets) for _, pair in _of("number")}) > 3


def test_two_steps_name_two_things_of_which_the_last_may_have_a_relation():
    related = 0
    for scene, pair in _of("two_steps"):
        first, second, *anchor = pair.request.things
        assert (first.step, second.step) == (1, 2) and len(set(pair.targets)) == 2
        assert _picked(scene, first.expression) == [pair.targets[0]]
        if not anchor:
            assert _picked(scene, second.expression) == [pair.targets[1]]
            continue
        related += 1
        assert anchor[0].of == 1 and len(_picked(scene, anchor[0].expression)) == 1
        assert pair.targets[1] in _picked(scene, second.expression)
    assert 0.4 < related / len(_of("two_steps")) < 0.9


def test_one_of_two_alternatives_exists_and_either_may_be_said_first():
    first = []
    for scene, pair in _of("either"):
        there = [_picked(scene, thing.expression) for thing in pair.request.things]
        assert sorted(map(len, there)) == [0, 1] and [*there[0], *there[1]] == list(pair.targets)
        first.append(bool(there[0]))
    assert 0.3 < np.mean(first) < 0.7


def test_the_whole_image_is_every_pixel():
    for scene, pair in _of("whole_image"):
        assert pair.mask_HW(scene).all() and pair.targets == () and format_line(pair.request) == "find whole image"


def test_phrases_stand_in_the_instruction_as_they_are_or_in_the_plural():
    for _, pair in _pairs():
        for thing in pair.request.things:
            if thing.relation == "except":
                continue
            phrase = thing.phrase
            plural = phrase + ("es" if phrase.endswith("s") else "s")
            assert phrase in pair.instruction.lower() or plural in pair.instruction.lower()


def test_instructions_are_sentences():
    for _, pair in _pairs():
        assert re.fullmatch(r"[A-Z][A-Za-z ,'.]+[.?]", pair.instruction) and "  " not in pair.instruction


def test_no_training_phrase_names_a_held_out_combination():
    names = [f"{colour} {shape}" for colour, shape in HELD_OUT]
    for scene, pair in _pairs():
        if scene.split != "test":
            line = format_line(pair.request)
            assert not any(name in line or name in pair.instruction for name in names)


def test_a_world_of_the_first_kinds_is_what_it_always_was(tmp_path):
    manifest = write_world(tmp_path / "world", "test", scenes=60, pairs_per_scene=4, human_share=0.2, start=5000)
    assert hashlib.sha256(manifest.read_bytes()).hexdigest().startswith("9954e8d33a03e1ba")


def test_a_world_holds_the_kinds_that_are_asked_for(tmp_path):
    manifest = write_world(tmp_path / "world", "test", 12, 3, 0.2, kinds=MORE_KINDS)
    assert '"kind": "whole_image"' in manifest.read_text() and '"kind": "attribute"' not in manifest.read_text()
    with pytest.raises(ConfigError, match="riddle"):
        write_world(tmp_path / "other", "test", 1, 1, 0.2, kinds=("riddle",))


def test_free_styles_say_the_same_of_the_same_scene():
    scene = draw_scene("val", 3)
    plain = {compose(scene, "attribute", np.random.default_rng(i)).request for i in range(30)}
    pairs = [compose(scene, "attribute", np.random.default_rng(i), free=True) for i in range(30)]
    assert {pair.request for pair in pairs} == plain
    assert any("lease" in pair.instruction or "could" in pair.instruction.lower() for pair in pairs)


def test_all_kinds_are_the_first_and_the_further_ones():
    assert (*KINDS, *MORE_KINDS) == ALL_KINDS and len(set(ALL_KINDS)) == 16
