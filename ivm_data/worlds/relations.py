"""How one box lies to another: the geometry behind "left of", "right of", "above" and "below"."""

from __future__ import annotations

from storage.errors import ConfigError
from storage.records import Box

RELATIONS = ("left of", "right of", "above", "below")
MARGIN = 8.0
"""Least lean, in pixels of a 128 px image, at which a person would agree without hesitation."""
_DIRECTION = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


def lean(thing: Box, relation: str, anchor: Box) -> float:
    """How clearly the thing's centre lies in the relation to the anchor's centre, in pixels.

    The displacement along the relation's direction less the displacement across it: positive inside the quarter
    plane of the relation, greatest on its axis.

    Raises:
        ConfigError: for an unknown relation.
    """
    along, across = _displacement(thing, relation, anchor)
    return along - across


def stands(thing_box: Box, relation: str, anchor_box: Box) -> bool:
    """Whether the thing clearly stands in the relation to the anchor: `lean` of at least MARGIN.

    Raises:
        ConfigError: for an unknown relation.
    """
    return lean(thing_box, relation, anchor_box) >= MARGIN


def stands_not(thing_box: Box, relation: str, anchor_box: Box) -> bool:
    """Whether the thing clearly does not stand in the relation: it lies twice as far across as along, by MARGIN.

    What neither stands nor stands not is what people argue about.

    Raises:
        ConfigError: for an unknown relation.
    """
    along, across = _displacement(thing_box, relation, anchor_box)
    return across - 2 * along >= MARGIN


def _displacement(thing: Box, relation: str, anchor: Box) -> tuple[float, float]:
    """From the anchor's centre to the thing's: signed along the relation's direction, unsigned across it."""
    if relation not in _DIRECTION:
        raise ConfigError(f"relation must be one of {RELATIONS}, got {relation!r}")
    toward_x, toward_y = _DIRECTION[relation]
    (x, y), (anchor_x, anchor_y) = thing.center, anchor.center
    right, down = x - anchor_x, y - anchor_y
    return right * toward_x + down * toward_y, abs(right * toward_y + down * toward_x)
