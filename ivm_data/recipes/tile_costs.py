"""What tiles cost: how often a model passes over a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.registry import ExpertSpec, unloaded
from ivm_data.experts.tiles.tiled import input_of
from ivm_data.recipes.labeling_recipes import Recipe
from storage.errors import IvmError

MEGAPIXELS = (0.3, 2.0, 12.0)
"""Pictures that costs are told for, 4:3: 640 x 480, a frame of a film, a photograph."""


@dataclass(frozen=True)
class TileCost:
    """What an expert with `tiles` does with a picture.

    Attributes:
        role: the recipe's field, dotted as `--set` takes it.
        sees: pixels that a picture's sides are resized to; None where its files are not here to tell.
        forwards: passes for each of `MEGAPIXELS`: the whole picture and its tiles; of a segmenter at most, for one box.
    """

    role: str
    expert: str
    sees: InputSize | None
    forwards: tuple[int, ...]


def tile_costs(recipe: Recipe) -> list[TileCost]:
    """Of every expert of the recipe that has `tiles`; nothing is loaded."""
    asked = [(f"grounders.{i}", spec) for i, spec in enumerate(recipe.grounders)]
    asked += [("segmenter", recipe.segmenter), *((f"proposers.{i}", spec) for i, spec in enumerate(recipe.proposers))]
    return [cost for role, spec in asked for cost in _costs(role, spec)]


def _costs(role: str, spec: ExpertSpec) -> Iterator[TileCost]:
    for part, used in spec.uses.items():
        yield from _costs(f"{role}.uses.{part}", used)
    if not (tiles := spec.tiles):
        return
    try:
        model = input_of(unloaded(spec.whole), tiles)
    except (IvmError, ImportError):
        yield TileCost(role, spec.expert, None, ())
        return
    counts = [len(tiles.parts(_size(megapixels), model).windows) for megapixels in MEGAPIXELS]
    draws = role == "segmenter" or role.endswith(".segmenter")
    yield TileCost(role, spec.expert, tiles.sees(model), tuple(1 if draws else 1 + count for count in counts))


def _size(megapixels: float) -> tuple[int, int]:
    """(height, width) of a picture of 4:3."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    return height, round(height * 4 / 3)
