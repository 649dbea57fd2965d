import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from ivm_data.worlds.grammar import ALL_KINDS, KINDS, RELATIONS, WorldPair, compose, difficulty, matches, vocabulary
from ivm_data.worlds.scene import HELD_OUT, draw_scene, seeded
from ivm_data.worlds.templates import MAX_COUNT
from storage.errors import ConfigError

SPLITS = ("train", "val", "test")
WAYS = {
    "left of": ("left of", "to the left of", "on the left side of"),
    "right of": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}


SCENES_PER_SPLIT, PAIRS_PER_KIND = 120, 2


def _compose_some(scene):
    rng = seeded(scene.split, scene.index, 9)
    pairs = [compose(scene, kind, rng) for kind in KINDS for _ in range(PAIRS_PER_KIND)]
    return [(scene, pair) for pair in pairs if pair is not None]


@cache
def _pairs():
    scenes = (draw_scene(split, index) for split in SPLITS for index in range(SCENES_PER_SPLIT))
    return [found for scene in scenes for found in _compose_some(scene)]


def _of(kind):
    return [(scene, pair) for scene, pair in _pairs() if pair.kind == kind]


def _picked(scene, phrase):
    """What a reader picks who only knows that every word of a phrase but a general noun must be true of a thing."""
    words = [word for word in phrase.split() if word not in ("thing", "object")]
    return [
        i
        for i, thing in enumerate(scene.things)
        if all(word in (thing.shape, thing.colour, thing.size, thing.texture) for word in words)
    ]


def _angle_off(scene, target, relation, anchor):
    """Degrees between the way from the anchor to the target and the relation's direction."""
    (x, y), (u, v) = scene.things[target].box.center, scene.things[anchor].box.center
    direction = {"left of": 180.0, "right of": 0.0, "above": -90.0, "below": 90.0}[relation]
    return abs((np.degrees(np.arctan2(y - v, x - u)) - direction + 180) % 360 - 180)


def test_every_kind_occurs_in_nearly_every_scene():
    counts = Counter(pair.kind for _, pair in _pairs())
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 0.85 * PAIRS_PER_KIND * len(SPLITS) * SCENES_PER_SPLIT


def test_every_difficulty_is_common():
    counts = Counter(pair.difficulty for _, pair in _pairs())
    assert set(counts) == {"easy", "medium", "hard"}
    assert min(counts.values()) > 0.2 * len(_pairs())


@pytest.mark.parametrize("kind", ["attribute", "question"])
def test_a_single_phrase_fits_exactly_its_target(kind):
    for scene, pair in _of(kind):
        assert len(pair.phrases) == 1
        assert _picked(scene, pair.phrases[0]) == list(pair.targets)
        assert len(pair.targets) == 1


def test_two_phrases_fit_one_different_thing_each_in_order():
    for scene, pair in _of("two_targets"):
        first, second = pair.phrases
        assert [_picked(scene, first), _picked(scene, second)] == [[target] for target in pair.targets]
        assert pair.targets[0] != pair.targets[1]
        assert pair.instruction.lower().index(first) < pair.instruction.lower().rindex(second)


def test_counting_names_all_that_fit_and_their_number():
    for scene, pair in _of("counting"):
        assert _picked(scene, pair.phrases[0]) == list(pair.targets)
        assert pair.answer == str(len(pair.targets))
        assert 1 <= len(pair.targets) <= MAX_COUNT
        assert pair.quantity == "all"
    assert {pair.answer for _, pair in _of("counting")} == set("123456")


def test_an_absent_phrase_fits_nothing_but_nearly_something():
    for scene, pair in _of("absent"):
        assert pair.targets == ()
        assert _picked(scene, pair.phrases[0]) == []
        words = pair.phrases[0].split()
        nearly = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
        assert len(words) == 1 or any(_picked(scene, phrase) for phrase in nearly)


def test_absent_and_present_things_are_asked_for_in_the_same_words():
    def share(kind):
        counts = Counter(word for _, pair in _of(kind) for word in re.findall(r"[a-z]+", pair.instruction.lower()))
        return {word: count / len(_of(kind)) for word, count in counts.items()}

    present, absent = share("attribute"), share("absent")
    assert set(present) == set(absent)
    for word, frequency in present.items():
        assert abs(absent[word] - frequency) < 0.12


def test_exactly_one_thing_that_fits_lies_clearly_in_the_relation():
    for scene, pair in _of("relation"):
        (anchor,) = _picked(scene, pair.anchor)
        fits = [i for i in _picked(scene, pair.phrases[0]) if i != anchor]
        inside = [i for i in fits if _angle_off(scene, i, pair.relation, anchor) < 45]
        assert inside == list(pair.targets)
        assert anchor not in pair.targets


def test_no_other_thing_that_fits_lies_nearly_in_the_relation():
    for scene, pair in _of("relation"):
        (anchor,) = _picked(scene, pair.anchor)
        for i in set(_picked(scene, pair.phrases[0])) - {anchor, *pair.targets}:
            (x, y), (u, v) = scene.things[i].box.center, scene.things[anchor].box.center
            along = {"left of": u - x, "right of": x - u, "above": v - y, "below": y - v}[pair.relation]
            across = abs(y - v) if pair.relation in ("left of", "right of") else abs(x - u)
            assert along <= across / 2 - 4


def test_most_relation_phrases_are_ambiguous_without_the_relation():
    ambiguous = [len(_picked(scene, pair.phrases[0])) >= 2 for scene, pair in _of("relation")]
    assert np.mean(ambiguous) > 0.7


def test_the_anchor_may_fit_the_target_phrase_too():
    assert any(
        set(_picked(scene, pair.anchor)) <= set(_picked(scene, pair.phrases[0])) for scene, pair in _of("relation")
    )


def test_the_relation_is_said_in_the_instruction():
    seen = set()
    for _, pair in _of("relation"):
        said = [way for way in WAYS[pair.relation] if f" {way} " in pair.instruction]
        others = [way for name in RELATIONS if name != pair.relation for way in WAYS[name]]
        assert said
        assert not any(f" {way} " in pair.instruction for way in others)
        seen.update((pair.relation, way) for way in said)
    assert len(seen) == 10


def test_the_answer_to_a_question_is_true_and_not_told_by_the_phrase():
    for scene, pair in _of("question"):
        thing = scene.things[pair.targets[0]]
        (asked,) = [name for name in ("shape", "colour", "size", "texture") if getattr(thing, name) == pair.answer]
        assert pair.answer not in pair.phrases[0].split()
        assert asked in pair.instruction or pair.instruction.startswith("Is the")
    assert len({pair.answer for _, pair in _of("question")}) == 18


def test_every_phrase_and_anchor_stands_in_its_instruction():
    for _, pair in _pairs():
        for phrase in (*pair.phrases, pair.anchor):
            assert phrase in pair.instruction.lower()


def test_instructions_are_written_as_sentences():
    for _, pair in _pairs():
        assert re.fullmatch(r"[A-Z][a-z ,]+[.?]", pair.instruction), pair.instruction
        assert "  " not in pair.instruction


def test_fields_that_a_kind_does_not_use_are_empty():
    for _, pair in _pairs():
        assert bool(pair.anchor) == bool(pair.relation) == (pair.kind == "relation")
        assert bool(pair.answer) == (pair.kind in ("counting", "question"))
        assert (pair.quantity == "all") == (pair.kind == "counting")


def test_the_vocabulary_is_what_is_said_no_more_and_no_less():
    said = set()
    freely = [
        pair
        for split in SPLITS
        for index in range(SCENES_PER_SPLIT)
        for scene in [draw_scene(split, index)]
        for rng in [seeded(split, index, 10)]
        for kind in ALL_KINDS
        if (pair := compose(scene, kind, rng, free=True)) is not None
    ]
    for pair in (*(pair for _, pair in _pairs()), *freely):
        for text in (pair.instruction, *pair.phrases, pair.anchor, pair.answer):
            said.update(re.findall(r"[a-z0-9]+", text.lower()))
    assert vocabulary() == tuple(sorted(vocabulary()))
    assert said == set(vocabulary())


def test_training_phrases_never_name_a_held_out_combination():
    held_out = [f"{colour} {shape}" for colour, shape in HELD_OUT]
    told = {split: " ".join(pair.instruction for scene, pair in _pairs() if scene.split == split) for split in SPLITS}
    for split in ("train", "val"):
        assert not any(name in told[split] for name in held_out)
    assert any(name in told["test"] for name in held_out)


def test_novel_pairs_are_those_with_a_held_out_target():
    for scene, pair in _pairs():
        assert pair.novel == any((scene.things[i].colour, scene.things[i].shape) in HELD_OUT for i in pair.targets)
    assert {scene.split for scene, pair in _pairs() if pair.novel} == {"test"}


def test_difficulty_grows_with_the_kind_and_the_likeness_of_others():
    rank = {"easy": 0, "medium": 1, "hard": 2}
    for scene, pair in _of("attribute"):
        harder = difficulty(scene, "relation", pair.phrases, pair.targets)
        assert rank[harder] == min(2, rank[pair.difficulty] + 1)
    crowded = [pair.difficulty != "easy" for scene, pair in _of("attribute") if len(scene.things) >= 9]
    sparse = [pair.difficulty != "easy" for scene, pair in _of("attribute") if len(scene.things) <= 4]
    assert np.mean(crowded) > np.mean(sparse) + 0.2


def test_the_same_random_numbers_give_the_same_pair():
    scene = draw_scene("test", 1)
    for kind in ALL_KINDS:
        first, second = (compose(scene, kind, np.random.default_rng(5)) for _ in range(2))
        assert isinstance(first, WorldPair | None)
        assert first == second


def test_matches_agrees_with_the_reader():
    for scene, pair in _pairs():
        for phrase in (*pair.phrases, *([pair.anchor] if pair.anchor else [])):
            assert [i for i, thing in enumerate(scene.things) if matches(thing, phrase)] == _picked(scene, phrase)


def test_an_unknown_kind_is_named():
    with pytest.raises(ConfigError, match="'riddle'"):
        compose(draw_scene("test", 0), "riddle", np.random.default_rng(0))
