"""The shapes of one image by their label -> one pair a label.

A shape that cannot be read loses the pair of its label, since "every ring" without one ring is a wrong mask; the other
labels of the image stay. A mark that is no shape, such as a point, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, LeftOut, Record, Target, reason
from ivm_data.sources.manifest_rows import tidy_instruction


class Shape(NamedTuple):
    """A shape that somebody drew.

    Attributes:
        label: its class.
        draw: makes its target, or says what was left out; may raise.
    """

    label: str
    draw: Callable[[], Target | LeftOut]


def by_label(shapes: Iterable[Shape], where: str) -> tuple[dict[str, list[Target]], list[Record]]:
    """(targets by label, what was left out or is bad); a label with a bad shape has no targets.

    Raises:
        ValueError: a label that is no text, so that nobody knows which pair lacks its shape.
    """
    targets: dict[str, list[Target]] = {}
    lost: dict[str, BadRecord] = {}
    others: list[Record] = []
    for position, shape in enumerate(shapes):
        if not isinstance(shape.label, str) or not shape.label.strip():
            raise ValueError(f"shape {position} has no label, got {shape.label!r:.60}")
        label = tidy_instruction(shape.label)
        try:
            found = shape.draw()
        except Exception as error:  # a foreign value raises nearly every type; it is that label's alone
            lost.setdefault(label, BadRecord(f"{where}: {label!r:.60}, shape {position}", reason(error)))
            continue
        if isinstance(found, LeftOut):
            others.append(found)
        else:
            targets.setdefault(label, []).append(found)
    return {label: found for label, found in targets.items() if label not in lost}, [*others, *lost.values()]


def pairs_of_labels(pattern: ForeignPair, shapes: Iterable[Shape], where: str) -> Iterator[Record]:
    """One pair a label, with all its shapes as targets.

    Args:
        pattern: what the pairs have in common; the label takes the place of `{name}` in its instruction.
    """
    targets, others = by_label(shapes, where)
    for label, found in targets.items():
        text = pattern.instruction.format(name=label)
        yield replace(pattern, instruction=text, kind="all", targets=tuple(found), unite=True)
    yield from others
    if not targets and not others:
        yield LeftOut("image without shapes")
