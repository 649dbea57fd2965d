"""Large canvases with many things, and a question about a small one: written as V*Bench has its questions.

A small thing keeps its size in pixels while the canvas grows, so a model that shrinks every image to one size sees
less of it the larger the canvas is; what the question needs is there to be seen from near.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np

from ivm_data.worlds import painting, templates
from ivm_data.worlds.phrases import Description
from ivm_data.worlds.relations import RELATIONS
from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE, Easel, Look, Scene, Thing, seeded
from ivm_data.worlds.world import png
from storage.common.validation import Count, Natural, at_least, check
from storage.disk.publish import write_text
from storage.errors import ConfigError
from storage.outputs import mark
from storage.pixels import rle

Kind = Literal["attribute", "relation"]
"""What tells the thing that is asked about from the others: its own looks, or where it lies to another small thing."""
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDERS: dict[Kind, str] = {"attribute": "direct_attributes", "relation": "relative_position"}
ASKED = ("colour", "shape")
DENSITY = 1 / 1800
"""Things a square pixel: about nine on a scene of the world itself, 128 pixels wide."""
OPTIONS = 4
NEAR = (26, 48)
"""Pixels between the middles of two things of which one lies left, right, above or below the other."""
_STREAM = 3
_RELATION_STREAM = 5
_TRIES = 20
_ROOM = 15
"""Pixels that the stencil of a small thing reaches from its middle."""
_STEP = dict(zip(RELATIONS, ((-1, 0), (1, 0), (0, -1), (0, 1)), strict=True))


@dataclass(frozen=True)
class Search:
    """A canvas and what is asked about it.

    Attributes:
        target: index of the thing that is asked about.
        asked: the attribute that is the answer, a member of `ASKED`.
        relation: how the target lies to the thing `anchor`; "" where it is known by its looks alone.
        anchor: index of that thing; -1 without a relation.
    """

    scene: Scene
    target: int
    asked: str
    relation: str = ""
    anchor: int = -1

    @property
    def phrases(self) -> tuple[str, ...]:
        """The target in words without what is asked, then the anchor in all its words."""
        target = _described(_look_of(self.scene.things[self.target]), self.asked).text("thing")
        if not self.relation:
            return (target,)
        anchor = _look_of(self.scene.things[self.anchor])
        return target, Description(anchor.size, anchor.texture, anchor.colour, anchor.shape).text()


def draw_search(index: int, side: int, kind: Kind = "attribute") -> Search:
    """Draw a canvas of `side` squared pixels and ask about a small thing on it: the same on every call.

    The target is at least 0.9 visible. By its looks no other thing fits its description without the attribute that is
    asked. By relation one other thing near the anchor does, which has another value of that attribute and clearly does
    not stand in the relation; no other thing looks like the anchor, and nothing covers the three.

    Raises:
        ConfigError: a canvas that is no larger than the world's scenes.
    """
    check(Annotated[int, at_least(IMAGE_SIZE)], side, "'side'")
    return _draw_attribute(index, side) if kind == "attribute" else _draw_relation(index, side)


def _draw_attribute(index: int, side: int) -> Search:
    rng = seeded("test", index, _STREAM)
    while True:
        asked = str(rng.choice(ASKED))
        target = replace(_look(rng), size="small")
        easel = Easel(painting.background(side, rng))
        easel.try_to_add(target, rng)
        _fill(easel, side, rng, but=_described(target, asked), asked=asked)
        things = easel.things()
        if things[0].visible >= 0.9:
            return Search(Scene("test", index, painting.lit(easel.canvas_HWC, rng), things), 0, asked)


def _draw_relation(index: int, side: int) -> Search:
    rng = seeded("test", index, _RELATION_STREAM)
    while True:
        asked, relation = str(rng.choice(ASKED)), str(rng.choice(RELATIONS))
        target, anchor = (replace(_look(rng), size="small") for _ in range(2))
        others = [word for word in ATTRIBUTES[asked] if word != getattr(target, asked)]
        twin = replace(target, **{asked: str(rng.choice(others))})
        if _described(anchor, asked) == _described(target, asked):
            continue
        easel = Easel(painting.background(side, rng))
        middle = rng.integers(NEAR[1] + _ROOM, side - NEAR[1] - _ROOM + 1, 2)
        elsewhere = str(rng.choice([other for other in RELATIONS if other != relation]))
        for look, way in ((target, relation), (twin, elsewhere), (anchor, "")):
            x, y = middle + rng.integers(*NEAR) * np.array(_STEP.get(way, (0, 0)))
            easel.try_to_add(look, rng, at=(int(x), int(y)))
        if len(easel.looks) < 3:
            continue
        easel.bare = 3
        _fill(easel, side, rng, but=_described(target, asked), asked=asked, anchor=anchor)
        scene = Scene("test", index, painting.lit(easel.canvas_HWC, rng), easel.things())
        return Search(scene, 0, asked, relation, 2)


def _fill(
    easel: Easel, side: int, rng: np.random.Generator, *, but: Description, asked: str, anchor: Look | None = None
) -> None:
    """Paint other things: none that fits `but` whatever is asked, and none that looks like the anchor."""
    wanted, tries = max(4, round(side * side * DENSITY)), 0
    while len(easel.looks) < wanted and tries < _TRIES * wanted:
        tries += 1
        look = _look(rng)
        if look != anchor and _described(look, asked) != but:
            easel.try_to_add(look, rng)


def write_search(
    directory: Path, questions: int, side: int = 512, start: int = 0, kinds: Sequence[str] = KINDS
) -> Path:
    """Write images and their JSON files as V*Bench has them, with `mask_rle` beside its fields.

    Args:
        questions: of each kind.
        kinds: `KINDS` or one of them.

    Returns:
        The directory.

    Raises:
        ConfigError: a number out of range, or no such kind.
    """
    check(Count, questions, "'questions'")
    check(Natural, start, "'start'")
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ConfigError(f"no kind {unknown[0]!r} of questions; choose from {', '.join(KINDS)}")
    mark(directory, "ivm search-world")
    for kind in (one for one in KINDS if one in kinds):
        folder = directory / FOLDERS[kind]
        folder.mkdir(exist_ok=True)
        for index in range(start, start + questions):
            search = draw_search(index, side, kind)
            (folder / f"{index:06d}.png").write_bytes(png(search.scene))
            row = json.dumps(_row(search)) + "\n"
            write_text(folder / f"{index:06d}.json", row, swept=index > start)
    return directory


def _row(search: Search) -> dict[str, object]:
    stream = _RELATION_STREAM if search.relation else _STREAM
    rng = seeded("test", search.scene.index, stream + 1)
    thing, asked = search.scene.things[search.target], search.asked
    phrase = f" {search.relation} the ".join(search.phrases)
    answer = getattr(thing, asked)
    others = [word for word in ATTRIBUTES[asked] if word != answer]
    named = [thing, *([search.scene.things[search.anchor]] if search.relation else [])]
    mask = rle.encode(thing.mask_HW)
    sentence = templates.QUESTION[asked][int(rng.integers(len(templates.QUESTION[asked])))].format(a=phrase)
    return {
        "target_object": list(search.phrases),
        "bbox": [_xywh(one) for one in named],
        "question": sentence,
        "options": [answer, *map(str, rng.choice(others, OPTIONS - 1, replace=False))],
        "mask_rle": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")},
    }


def _xywh(thing: Thing) -> list[int]:
    box = thing.box
    return [int(box.x0), int(box.y0), int(box.x1 - box.x0), int(box.y1 - box.y0)]


def _look(rng: np.random.Generator) -> Look:
    return Look(*(words[rng.integers(len(words))] for words in ATTRIBUTES.values()))


def _look_of(thing: Thing) -> Look:
    return Look(thing.size, thing.texture, thing.colour, thing.shape)


def _described(look: Look, asked: str) -> Description:
    """All that is said of a thing: everything but the attribute that is asked."""
    return Description(look.size, look.texture, look.colour, look.shape)._replace(**{asked: ""})
