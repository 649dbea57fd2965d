"""Large canvases with many things, and a question about a small one: written as V*Bench's `direct_attributes`.

A small thing keeps its size in pixels while the canvas grows, so a model that shrinks every image to one size sees
less of it the larger the canvas is; what the question needs is there to be seen from near.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from ivm_data.worlds import painting, templates
from ivm_data.worlds.phrases import Description
from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE, Easel, Look, Scene, seeded
from ivm_data.worlds.world import png
from storage.common.validation import Count, Natural, at_least, check
from storage.disk.publish import write_text
from storage.outputs import mark
from storage.pixels import rle

ASKED = ("colour", "shape")
FOLDER = "direct_attributes"
DENSITY = 1 / 1800
"""Things a square pixel: about nine on a scene of the world itself, 128 pixels wide."""
OPTIONS = 4
_STREAM = 3
_TRIES = 20


def draw_search(index: int, side: int) -> tuple[Scene, int, str]:
    """Draw a canvas and ask about a thing on it: the same on every call.

    The thing is small, at least 0.9 of it is visible, and no other fits its description without the attribute that
    is asked.

    Returns:
        (scene of `side` squared pixels, index of the thing, the attribute that is asked: a member of `ASKED`).

    Raises:
        ConfigError: a canvas that is no larger than the world's scenes.
    """
    check(Annotated[int, at_least(IMAGE_SIZE)], side, "'side'")
    rng = seeded("test", index, _STREAM)
    while True:
        asked = str(rng.choice(ASKED))
        target = replace(_look(rng), size="small")
        easel = Easel(painting.background(side, rng))
        wanted, tries = max(4, round(side * side * DENSITY)), 0
        while len(easel.looks) < wanted and tries < _TRIES * wanted:
            tries += 1
            look = target if not easel.looks else _look(rng)
            if not easel.looks or _described(look, asked) != _described(target, asked):
                easel.try_to_add(look, rng)
        things = easel.things()
        if things and things[0].visible >= 0.9:
            return Scene("test", index, painting.lit(easel.canvas_HWC, rng), things), 0, asked


def write_search(directory: Path, questions: int, side: int = 512, start: int = 0) -> Path:
    """Write images and their JSON files as V*Bench has them, with `mask_rle` beside its fields.

    Returns:
        The directory.

    Raises:
        ConfigError: a number out of range.
    """
    check(Count, questions, "'questions'")
    check(Natural, start, "'start'")
    folder = directory / FOLDER
    mark(directory, "ivm search-world")
    folder.mkdir(exist_ok=True)
    for index in range(start, start + questions):
        scene, target, asked = draw_search(index, side)
        (folder / f"{index:06d}.png").write_bytes(png(scene))
        row = json.dumps(_row(scene, target, asked)) + "\n"
        write_text(folder / f"{index:06d}.json", row, swept=index > start)
    return directory


def _row(scene: Scene, target: int, asked: str) -> dict[str, object]:
    rng = seeded("test", scene.index, _STREAM + 1)
    thing = scene.things[target]
    description = _described(Look(thing.size, thing.texture, thing.colour, thing.shape), asked)
    phrase = description.text("thing")
    answer = getattr(thing, asked)
    others = [word for word in ATTRIBUTES[asked] if word != answer]
    box, mask = thing.box, rle.encode(thing.mask_HW)
    sentence = templates.QUESTION[asked][int(rng.integers(len(templates.QUESTION[asked])))].format(a=phrase)
    return {
        "target_object": [phrase],
        "bbox": [[int(box.x0), int(box.y0), int(box.x1 - box.x0), int(box.y1 - box.y0)]],
        "question": sentence,
        "options": [answer, *map(str, rng.choice(others, OPTIONS - 1, replace=False))],
        "mask_rle": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")},
    }


def _look(rng: np.random.Generator) -> Look:
    return Look(*(words[rng.integers(len(words))] for words in ATTRIBUTES.values()))


def _described(look: Look, asked: str) -> Description:
    """All that is said of a thing: everything but the attribute that is asked."""
    return Description(look.size, look.texture, look.colour, look.shape)._replace(**{asked: ""})
