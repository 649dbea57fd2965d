"""A request as JSON: the schema that instructed LMMs are asked to fill, and what they make of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ivm_data.experts.lmms.answer_patterns import WHOLE_IMAGE
from ivm_data.experts.lmms.request_line import MAX_COUNT, MAX_TARGETS, ORDINALS, split, things_in
from storage.request import ALL, EXCEPT, OR, RELATIONS, Order, Request, Scope, Thing

MAX_THINGS = 4 * MAX_TARGETS
"""Targets with all that describes them."""
_TARGETS = ("targets", "target", "things", "objects", "object", "find", "phrases", "phrase", "items", "answer")
"""Keys under which targets are given; the first is asked for."""
_WRAPPERS = ("result", "response", "output", "request", "data")
"""Keys under which the whole answer may be given."""
_WORDS = ("expression", "phrase", "name", "label", "target", "object", "noun", "description")
"""Keys under which a target's words are given."""
_LOOKS = ("attributes", "attribute", "color", "colour", "material", "size", "shape")
"""Keys under which some models say how a target looks; it is said before its words."""
_READ = frozenset(
    {*_WORDS, *_LOOKS, "count", "quantity", "all", "order", "rank", "is_writing", "step", "relation", "relations"}
    | {"anchor", "anchors", "exceptions", "except", "alternatives"}
)
_BESIDE = frozenset(
    {"id", "type", "category", "score", "confidence", "reason", "explanation"}
    | {"bbox", "bbox_2d", "box", "box_2d", "point", "point_2d"}
)
"""Keys that say nothing of which thing is meant."""
_SIDES = {"left of": "on the left", "right of": "on the right", "above": "at the top", "below": "at the bottom"}
"""What a relation to the picture itself is."""
_SCOPES: dict[str, Scope] = {
    "things": "things",
    "whole image": "whole image",
    "whole_image": "whole image",
    "image": "whole image",
    "scene": "whole image",
    "entire image": "whole image",
    "full image": "whole image",
    "thing": "things",
    "object": "things",
    "objects": "things",
    "nothing": "nothing",
    "none": "nothing",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reference(_Strict):
    """A thing by its words."""

    noun: str = Field(description="what the thing is, in one to three words")
    expression: str = Field(description="the words that refer to it")


class AnchorRelation(_Strict):
    """How an anchor lies to other things."""

    relation: str = Field(description="as of a target")
    anchors: list[Reference] = Field(min_length=1, max_length=2)


class Anchor(Reference):
    """A thing that describes another one."""

    relations: list[AnchorRelation] = Field([], max_length=2)


class Relation(_Strict):
    """How a target lies to other things."""

    relation: str = Field(description=f"{', '.join(RELATIONS)}, or other words")
    anchors: list[Anchor] = Field(min_length=1, max_length=2)


class Target(_Strict):
    """A thing that one has to look at."""

    noun: str = Field(description="what the thing is, in one to three words: cup")
    expression: str = Field(description="the words that refer to it, without relations: red cup with a lid")
    count: int | Literal["all"] = Field(1, description="how many are meant; all for every one that fits")
    order: Order = Field("", description="the side from which things are counted, or the size by which they are ranked")
    rank: int = Field(1, ge=1, le=MAX_COUNT, description="2 and left are the second from the left; 1 without an order")
    relations: list[Relation] = Field([], max_length=3)
    exceptions: list[str] = Field([], max_length=4, description="what is not meant although the expression fits it")
    alternatives: list[str] = Field([], max_length=4, description="what is meant where the thing itself is not there")
    is_writing: bool = Field(False, description="it is writing that has to be read")
    step: int = Field(1, ge=1, le=MAX_COUNT, description="the step of the instruction that needs it first")


class Answer(_Strict):
    """What an instruction is about."""

    scope: Scope = Field(description="things to look at, the whole image, or nothing that an image could show")
    targets: list[Target] = Field(max_length=MAX_TARGETS)


def schema() -> dict[str, Any]:
    """The JSON schema of an answer, for servers that decode by one."""
    return Answer.model_json_schema()


def request_of(value: Mapping[str, Any] | Sequence[Any]) -> Request:
    """Read a JSON value: the schema's object, an object with fewer or other known keys, or a list of targets.

    Raises:
        ValueError: it names nothing that is known, or something out of range, with what is wrong.
    """
    if not isinstance(value, Mapping):
        return _of_targets(value, {}, "things")
    scope = _scope(value.get("scope"))
    key = next((key for key in _TARGETS if key in value), None)
    if key is None:
        if scope != "things":
            return Request(scope=scope)
        if any(word in value for word in _WORDS):
            return _of_targets([value], {}, "things")
        inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), Mapping | list | str)), None)
        if inner is not None:
            return request_of([inner] if isinstance(inner, str) else inner)
        raise ValueError(
            f"its object has none of the keys {', '.join(_TARGETS[:4])}; it has {sorted(map(str, value))[:9]}"
        )
    targets = value[key]
    if scope == "whole image" and targets:
        raise ValueError("its scope is the whole image, and it names targets too")
    return _of_targets(targets if isinstance(targets, list) else [targets], value, scope)


def _of_targets(targets: Sequence[Any], whole: Mapping[str, Any], scope: Scope) -> Request:
    """Args: whole: the object that holds the targets; a relation of its own is that of all of them."""
    if scope != "things":
        return Request(scope=scope)
    things: list[Thing] = []
    for target in targets:
        if isinstance(target, str):
            for spec in split(_words(target).removeprefix("find ")):
                _add(things, spec, relations=_relations(whole))
        elif target is not None:
            _add(things, target, relations=_relations(whole))
    if sum(thing.of < 0 for thing in things) > MAX_TARGETS:
        raise ValueError(f"it names more than {MAX_TARGETS} targets")
    if len(things) > MAX_THINGS:
        raise ValueError(f"it names {len(things)} things, and at most {MAX_THINGS} can be held apart")
    if _count(whole, 1) == ALL:
        things = [replace(one, count=ALL) if one.of < 0 and one.count == 1 else one for one in things]
    unread = sorted({str(key) for one in targets if isinstance(one, Mapping) for key in one} - _READ - _BESIDE)
    notes = (f"not read of a target: {', '.join(unread)[:80]}",) if unread else ()
    return Request(tuple(things), notes=notes) if things else Request(scope="nothing")


_Relations = list[tuple[str, list[Any]]]


def _add(
    things: list[Thing], entry: Any, of: int = -1, relation: str = "", relations: _Relations | None = None
) -> None:
    """Add a thing, then what describes it: what its words say, its relations, exceptions and alternatives.

    Args:
        entry: words, or an object with them.
        relations: of a thing that has none of its own.
    """
    if isinstance(entry, Mapping):
        first, *described = _target(entry)
    elif isinstance(entry, str) and entry.strip():
        first, *described = things_in([_words(entry)])
    else:
        raise ValueError(f"a thing must be words or an object, got {entry!r:.60}")
    start, own = len(things), entry if isinstance(entry, Mapping) else {}
    described_by = [(name, anchor) for name, anchors in _relations(own) or relations or [] for anchor in anchors]
    places = [_SIDES.get(name, "") for name, anchor in described_by if _is_picture(anchor)]
    expression = " ".join([first.expression, *filter(None, places)])
    noun = first.noun or (first.expression if expression != first.expression else "")
    things.append(replace(first, expression=expression, noun=noun, of=of, relation=relation))
    things += [replace(one, of=one.of + start) for one in described]
    for name, anchor in described_by:
        if not _is_picture(anchor):
            _add(things, anchor, start, name)
    for key, name in (("exceptions", EXCEPT), ("except", EXCEPT), ("alternatives", OR)):
        for other in _list(own.get(key)):
            _add(things, other, start, name)


def _is_picture(anchor: Any) -> bool:
    return isinstance(anchor, str) and WHOLE_IMAGE.match(_words(anchor)) is not None


def _words(text: str) -> str:
    """As a detector reads them: "Red_mug." is "red mug"."""
    return re.sub(r"(?<=\w)_(?=\w)", " ", text.lower()).strip(" .")


def _target(target: Mapping[str, Any]) -> list[Thing]:
    words = next((target[key] for key in _WORDS if isinstance(target.get(key), str) and target[key].strip()), None)
    if words is None:
        raise ValueError(f"a target has no words under {', '.join(_WORDS[:4])}: {dict(target)!r:.120}")
    looks = [look for key in _LOOKS for look in _list(target.get(key)) if isinstance(look, str)]
    words = " ".join([*(look for look in looks if look.lower() not in words.lower()), words])
    first, *rest = things_in([_words(words)])
    noun = str(target.get("noun") or "").lower().strip()
    order, rank = _order(target, first)
    known = replace(
        first,
        noun=noun if noun and noun != first.expression else first.noun,
        count=_count(target, first.count),
        order=order,
        rank=rank,
        reads=target.get("is_writing") is True,
        step=_number(target.get("step"), "step", 1),
    )
    return [known, *rest]


def _order(target: Mapping[str, Any], first: Thing) -> tuple[Order, int]:
    order = target.get("order") or first.order
    if order not in ("", "left", "right", "top", "bottom", "largest", "smallest"):
        raise ValueError(f"order must be left, right, top, bottom, largest, smallest or empty, got {order!r}")
    rank = target.get("rank")
    if isinstance(rank, str) and rank in ORDINALS:
        rank = ORDINALS.index(rank) + 1
    return order, _number(rank, "rank", first.rank)


def _count(target: Mapping[str, Any], otherwise: int) -> int:
    count = target.get("count", target.get("quantity"))
    if count in ("all", "every") or target.get("all") is True:
        return ALL
    return otherwise if count in (None, "", "one", 1) else _number(count, "count", otherwise)


def _number(value: Any, name: str, otherwise: int) -> int:
    if value is None or value == "":
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ValueError(f"{name} must be a number from 1 to {MAX_COUNT}, got {value!r:.40}")
    return value


def _relations(described: Mapping[str, Any]) -> _Relations:
    """(relation, anchors) of an object that gives several, or one as `relation` and `anchor`."""
    several = _list(described.get("relations"))
    if not several and isinstance(described.get("relation"), str) and described["relation"].strip():
        several = [described]
    found: _Relations = []
    for one in several:
        if not isinstance(one, Mapping) or not isinstance(one.get("relation"), str):
            raise ValueError(f"a relation must be an object with 'relation' and 'anchors', got {one!r:.80}")
        anchors = _list(one.get("anchors")) or _list(one.get("anchor"))
        if not anchors:
            raise ValueError(f"relation {one['relation']!r} has no anchor")
        found.append((_relation(one["relation"]), anchors))
    return found


def _relation(words: str) -> str:
    plain = " ".join(words.lower().replace("_", " ").split())
    known = {"left": "left of", "right": "right of", "to the left of": "left of", "to the right of": "right of"}
    return known.get(plain, plain)


def _scope(value: Any) -> Scope:
    if value is None or value == "":
        return "things"
    scope = _SCOPES.get(value.lower().strip()) if isinstance(value, str) else None
    if scope is None:
        raise ValueError(f"scope must be 'things', 'whole image' or 'nothing', got {value!r:.40}")
    return scope


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]
