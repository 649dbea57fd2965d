"""The procedural world as a stream of pairs and as a data set on disk in our manifest format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ivm_data.sources.lines import whole_manifest
from ivm_data.worlds.grammar import ALL_KINDS, KINDS, WorldPair, compose, matches
from ivm_data.worlds.scene import Scene, draw_scene, seeded
from ivm_data.worlds.split import Split
from storage.common.near import meant
from storage.common.validation import Count, Natural, Share, check
from storage.errors import ConfigError
from storage.outputs import mark
from storage.pixels import rle
from storage.records import Box

ROUNDS = 4
"""How often each wanted pair may be tried before a scene yields fewer."""
_PAIRS_STREAM, _HUMAN_STREAM = 1, 2


def generate(
    split: Split, start: int, count: int, kinds: Sequence[str] = KINDS, per_scene: int = len(KINDS)
) -> Iterator[tuple[Scene, WorldPair, int]]:
    """Draw scenes `start` to `start + count - 1` with their pairs: the same on every call.

    Yields:
        (scene, pair, index of the pair within its scene). A scene that offers too little yields fewer pairs.

    Raises:
        ConfigError: for an unknown split or kind, no kinds, or a negative number.
    """
    for name, number in (("start", start), ("count", count), ("per_scene", per_scene)):
        check(Natural, number, name)
    for index in range(start, start + count):
        scene = draw_scene(split, index)
        for number, pair in enumerate(pairs_of(scene, kinds, per_scene)):
            yield scene, pair, number


def pairs_of(scene: Scene, kinds: Sequence[str] = KINDS, per_scene: int = len(KINDS)) -> list[WorldPair]:
    """Up to `per_scene` pairs with distinct instructions; kinds take turns, and the scene's index says who begins.

    Raises:
        ConfigError: for an unknown kind or no kinds.
    """
    if not kinds:
        raise ConfigError(f"kinds must name at least one of {KINDS}, got none")
    rng = seeded(scene.split, scene.index, _PAIRS_STREAM)
    found: dict[str, WorldPair] = {}
    for turn in range(ROUNDS * per_scene):
        if len(found) == per_scene:
            break
        pair = compose(scene, kinds[(scene.index * per_scene + turn) % len(kinds)], rng)
        if pair is not None:
            found.setdefault(pair.instruction, pair)
    return list(found.values())


def write_world(
    directory: Path,
    split: Split,
    scenes: int,
    pairs_per_scene: int,
    human_share: float,
    *,
    start: int = 0,
    kinds: Sequence[str] = KINDS,
) -> Path:
    """Write PNG images and `manifest.jsonl`; the manifest appears last and whole.

    Every row carries its true masks. In about `human_share` of the scenes they stand for human labels
    (`held_out` false); in all others they only score (`held_out` true). No scene is both.

    Args:
        directory: is made where it is missing; files of the same names are replaced.
        start: index of the first scene in the split.
        kinds: of instructions, members of `ALL_KINDS`.

    Returns:
        Path of the manifest.

    Raises:
        ConfigError: for an unknown split or kind, no kinds, or a number out of range.
    """
    check(Count, scenes, "scenes")
    check(Count, pairs_per_scene, "pairs_per_scene")
    check(Share, human_share, "human_share")
    if not kinds:
        raise ConfigError(f"give at least one kind of instruction; choose from {', '.join(ALL_KINDS)}")
    if unknown := sorted(set(kinds) - set(ALL_KINDS)):
        near = meant(unknown[0], ALL_KINDS)
        raise ConfigError(f"no kind of instruction {unknown[0]!r}; choose from {', '.join(ALL_KINDS)}{near}")
    mark(directory, "ivm world")
    (directory / "images").mkdir(exist_ok=True)
    manifest = directory / "manifest.jsonl"
    with whole_manifest(manifest) as lines:
        for scene, pair, number in generate(split, start, scenes, kinds, pairs_per_scene):
            image = f"images/{scene.index:06d}.png"
            if number == 0:
                (directory / image).write_bytes(png(scene))
            lines.write(json.dumps(_row(scene, pair, number, image, human_share)) + "\n")
    return manifest


def png(scene: Scene) -> bytes:
    """The scene's image as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(scene.image_HWC, cv2.COLOR_RGB2BGR))[1].tobytes()


def is_human(scene: Scene, human_share: float) -> bool:
    """Whether the scene's masks stand for human labels; a scene that is at some share stays so at greater ones."""
    return bool(seeded(scene.split, scene.index, _HUMAN_STREAM).random() < human_share)


def _row(scene: Scene, pair: WorldPair, number: int, image: str, human_share: float) -> dict[str, Any]:
    height, width = scene.image_HWC.shape[:2]
    return {
        "id": f"world-{scene.split}-{scene.index:06d}-{number}",
        "image": image,
        "width": width,
        "height": height,
        "instruction": pair.instruction,
        "source": f"world-{scene.split}",
        "kind": pair.kind,
        "difficulty": pair.difficulty,
        "novel": pair.novel,
        "answer": pair.answer,
        "phrases": list(pair.phrases),
        "anchor": pair.anchor,
        "relation": pair.relation,
        "quantity": pair.quantity,
        "targets": _targets(scene, pair),
        "held_out": not is_human(scene, human_share),
    }


def _targets(scene: Scene, pair: WorldPair) -> list[dict[str, Any]]:
    if pair.whole:
        height, width = scene.image_HWC.shape[:2]
        return [_target(pair.mask_HW(scene), Box(0, 0, width, height), pair.request.scope)]
    things = [scene.things[index] for index in pair.targets]
    named = pair.phrases if len(pair.phrases) == len(things) else ()
    fitting = [next(phrase for phrase in pair.phrases if matches(thing, phrase)) for thing in things if not named]
    return [_target(thing.mask_HW, thing.box, phrase) for thing, phrase in zip(things, named or fitting, strict=True)]


def _target(mask_HW: np.ndarray, box: Box, phrase: str) -> dict[str, Any]:
    mask = rle.encode(mask_HW)
    return {
        "phrase": phrase,
        "bbox_xyxy": [int(edge) for edge in (box.x0, box.y0, box.x1, box.y1)],
        "mask_rle": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")},
    }
