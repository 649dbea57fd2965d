"""A request in one line, written and read: the form in which the embedded LMM answers.

    find SPEC [and SPEC]*   |   find whole image   |   find nothing
    SPEC  = [all | N] [ORDER] PHRASE [RELATION ANCHOR [and ANCHOR]] [except PHRASE] [or PHRASE]
    ORDER = [second | third | ...] leftmost | rightmost | topmost | bottommost | largest | smallest

as in "find red ring and green star", "find all star except red star", "find second leftmost star",
"find star between red ring and blue square". A relation belongs to the phrase before it; "between" has two anchors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from storage.request import ALL, BETWEEN, EXCEPT, FARTHEST, NEAREST, OR, Order, Request, Scope, Thing

MAX_TARGETS = 8
MAX_WORDS = 12
"""Words in a noun phrase; a longer one is a sentence, which no detector can ground."""
MAX_COUNT = 99

SCOPES: dict[Scope, str] = {"whole image": "whole image", "nothing": "nothing"}
"""What stands in the place of the things."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SUPERLATIVES: dict[Order, str] = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "bottommost",
    "largest": "largest",
    "smallest": "smallest",
}
_SYNONYMS: dict[str, Order] = {"uppermost": "top", "lowermost": "bottom", "biggest": "largest"}
_ORDER_OF = {word: order for order, word in _SUPERLATIVES.items()} | _SYNONYMS
_SIDES: dict[str, Order] = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}

_ORDINAL = rf"(?P<rank>{'|'.join(ORDINALS)}|\d(?:st|nd|rd|th))"
_BEFORE = re.compile(rf"(?:{_ORDINAL} )?(?P<order>{'|'.join(_ORDER_OF)})(?: of)? (?P<noun>.+)")
_AROUND = re.compile(rf"{_ORDINAL} (?P<noun>.+) from (?:the )?(?P<order>left|right|top|bottom)")
_ALL = re.compile(
    r"(?:all(?: of)?|every|each(?: of)?|several|multiple|many|various|(?:a )?few|some(?= \w.*s$))"
    r"(?: the| these| those)? "
)
_SEVERAL = re.compile(rf"(?P<count>both|\d\d?|{'|'.join(NUMBERS[1:])})(?: of the| of these)? ")
_SIDE = r"(?:(?:that|which|who) (?:is|are) |(?:that|which)'s )?"
_HOW = r"(?:(?:upper|lower|far|immediate|immediately|directly|just|slightly)[ -])*"
_RELATION = re.compile(
    rf"(?:^|\s){_SIDE}(?:"
    rf"(?:(?:on|to|at) )?(?:the )?{_HOW}(?P<side>left|right)(?:[ -]hand)?(?: side)?(?: of| to(?= the\b| an?\b))"
    rf"|{_HOW}(?P<height>above|below)|(?P<other>{NEAREST}|closest to|{FARTHEST}|furthest from))\s"
)
_BETWEEN = re.compile(rf"(?:^|\s){_SIDE}(?:in )?between\s")
_EITHER = re.compile(r"^either (?:of )?")
_EXCEPT = re.compile(r"\s(?:except(?: for)?|but not|other than|excluding|apart from)\s")
_OTHER = {"closest to": NEAREST, "furthest from": FARTHEST}
_ARTICLE = re.compile(
    r"(?<!\bin )\b(?:the|an|a) (?!left\b|right\b|top\b|bottom\b|middle\b|cent(?:er|re)\b|front\b|back\b)"
)
_COLOURS = ("black", "white", "red", "blue", "green", "yellow", "orange", "brown", "gray", "grey", "pink", "purple")
_NOT_AFTER_COLOUR = "".join(rf"(?<!\b{colour})" for colour in _COLOURS)
_AND = rf"(?:{_NOT_AFTER_COLOUR}\s+and |\s+and (?!(?:{'|'.join(_COLOURS)})\b))"
"""Not between colours: a black and white cat is one."""
_GOES_ON = re.compile(
    r"(?:which|that|who|whose|located|positioned|placed|wearing|holding|on|in|at|near|next to|beside|behind|under"
    r"|with)\b"
)
_NO_NOUN = re.compile(
    rf"(?:the )?(?:{'|'.join((*ORDINALS, *_ORDER_OF, *_SIDES, 'upper', 'lower', 'big', 'small', 'large', 'other'))})\b"
)
_THAT_IS = re.compile(r"^(?:which|that|who) (?:is|are) ")
_DANGLING = re.compile(
    r"(?:^|\s)(?:of|and|or|the|an?|with|without|in|on|at|to|from|by|between|above|below|except|all|every|than)$"
)
_FIRST_ARTICLE = re.compile(r"^(?:the|an|a|some|any) ")
_NOUN_ENDS = re.compile(
    r" (?:in|on|at|with|without|of|from|near|next|beside|behind|under|over|inside|into|onto|around|against|between|by|"
    r"along|across|wearing|holding|sitting|standing|lying|riding|carrying|not|that|which|who|whose|to|for)\b"
)


def format_line(request: Request) -> str:
    """The line for a request; what a line cannot hold, such as an anchor's own relations, is left out."""
    if request.scope != "things":
        return f"find {SCOPES[request.scope]}"
    return "find " + " and ".join(_spec(request, target) for target in request.targets)


def things_in(specs: Sequence[str]) -> tuple[Thing, ...]:
    """Read the targets of an answer, each as `SPEC` above or in freer words: "second cup from the left".

    Args:
        specs: lower case, single spaces.

    Raises:
        ValueError: one of them is no such phrase, with what is wrong.
    """
    things: list[Thing] = []
    targets = 0
    for spec in _whole_specs(specs):
        if _RELATION.match(spec) and things:  # "... and left of bowl" goes on about the target before
            target = max(i for i, thing in enumerate(things) if thing.of < 0)
            _add_relations(spec, target, things)
            continue
        targets += 1
        _add_target(spec, things)
    if targets > MAX_TARGETS:
        raise ValueError(f"it names {targets} targets, and at most {MAX_TARGETS} can be meant")
    return _once(things)


def split(text: str) -> list[str]:
    """The specs of a list in words: "knife, fork, and spoon", "mug; bowl", "mug and find bowl"."""
    text = re.sub(r"\s+(?:[&/|+]|and/or)\s+", " and ", text)
    parts = re.split(rf"\s*[,;\n]\s*(?:and |then )?(?:find )?|{_AND}(?:then )?(?:find )?", text)
    return _whole_phrases([part for part in map(str.strip, parts) if part])


def _whole_phrases(parts: Sequence[str]) -> list[str]:
    """The parts, where one that goes on about the one before it is joined to it, and one that lacks a noun has the next
    one's: "man, with a hat", "red, white and blue flag", "left and right shoe"."""
    whole: list[str] = []
    for part in parts:
        before = whole[-1] if whole else ""
        if before and _GOES_ON.match(part) and not _RELATION.match(part):
            whole[-1] = f"{before} {_THAT_IS.sub('', part)}"
        elif before.rpartition(" ")[2] in _COLOURS and part.split()[0] in _COLOURS:
            whole[-1] = f"{before}, {part}"
        elif _NO_NOUN.fullmatch(before) and (other := _NO_NOUN.match(part)) and part[other.end() :]:
            whole[-1] = before + part[other.end() :]
            whole.append(part)
        else:
            whole.append(part)
    return whole


def without_articles(phrase: str) -> str:
    """A phrase without the, a and an, but for "on the left" and "in the background", which are nothing without."""
    return _ARTICLE.sub("", _FIRST_ARTICLE.sub("", phrase)).strip()


def noun_of(expression: str) -> str:
    """What a detector knows of an expression: the words before the first preposition; "" where that is all of it."""
    found = _NOUN_ENDS.search(expression)
    return expression[: found.start()] if found else ""


def _spec(request: Request, target: int) -> str:
    thing = request.things[target]
    count = "all " if thing.count == ALL else f"{thing.count} " if thing.count > 1 else ""
    order = ""
    if thing.order:
        rank = f"{ORDINALS[thing.rank - 1]} " if thing.rank > 1 else ""
        order = f"{rank}{_SUPERLATIVES[thing.order]} "
    words = [f"{count}{order}{thing.phrase}"]
    described = [one for _, one in request.describing(target)]
    for relation in dict.fromkeys(one.relation for one in sorted(described, key=_place)):
        others = [one.phrase for one in described if one.relation == relation]
        if relation == BETWEEN:
            others = [" and ".join(others)]
        words += [f"{relation} {other}" for other in others]
    return " ".join(words)


def _place(thing: Thing) -> int:
    return {EXCEPT: 1, OR: 2}.get(thing.relation, 0)


def _whole_specs(specs: Sequence[str]) -> Iterator[str]:
    """The specs, with the two anchors of a "between" in one of them."""
    waiting = ""
    for spec in specs:
        joined = f"{waiting} and {spec}" if waiting else spec
        open_end = _BETWEEN.search(joined)
        if open_end and " and " not in joined[open_end.end() :] and not _is_plural(joined[open_end.end() :]):
            waiting = joined
            continue
        waiting = ""
        yield joined
    if waiting:
        yield waiting


def _is_plural(anchor: str) -> bool:
    """Whether one phrase names both anchors: "two men", "both cups"."""
    return bool(re.match(r"(?:the )?(?:two|both|them)\b", anchor))


def _add_target(spec: str, things: list[Thing]) -> None:
    first, *alternatives = re.split(r"\s+or (?:else )?", spec)
    if alternatives:
        first = _EITHER.sub("", first)
    target = len(things)
    head, *exceptions = _EXCEPT.split(first)
    start = _first_relation(head)
    things.append(_thing(head[:start] if start >= 0 else head))
    if start >= 0:
        _add_relations(head[start:], target, things)
    for exception in exceptions:
        things.append(_thing(_named(exception, things[target]), of=target, relation=EXCEPT))
    for alternative in alternatives:
        things.append(_thing(alternative, of=target, relation=OR))


def _add_relations(text: str, target: int, things: list[Thing]) -> None:
    """Read "left of A", "between A and B"; an anchor's own relations are its own."""
    between, other = _BETWEEN.match(text), _RELATION.match(text)
    if between:
        anchors = re.split(r"\s+and\s+", text[between.end() :], maxsplit=1)
        relation = BETWEEN
    elif other:
        anchors = [text[other.end() :]]
        side, height, words = other["side"], other["height"], other["other"]
        relation = f"{side} of" if side else height or _OTHER.get(words, words)
    else:
        raise ValueError(f"{text!r} is no relation")
    for anchor in anchors:
        index, start = len(things), _first_relation(anchor)
        things.append(_thing(anchor[:start] if start >= 0 else anchor, of=target, relation=relation))
        if start >= 0:
            _add_relations(anchor[start:], index, things)


def _first_relation(text: str) -> int:
    """Where the first relation begins that geometry decides; -1 where none does. "Between" needs two anchors."""
    found = [match for match in (_RELATION.search(text), _BETWEEN.search(text)) if match]
    first = min(found, key=lambda match: match.start(), default=None)
    if first is None or (first.re is _BETWEEN and " and " not in text[first.end() :]):
        return -1
    return first.start()


def _thing(text: str, of: int = -1, relation: str = "") -> Thing:
    """One noun phrase with its count and its order."""
    text, count = " ".join(text.split()), 1
    if everything := _ALL.match(text):
        text, count = text[everything.end() :], ALL
    elif several := _SEVERAL.match(without_articles(text)):
        word = several["count"]
        count = 2 if word == "both" else int(word) if word.isdigit() else NUMBERS.index(word) + 1
        text = without_articles(text)[several.end() :]
    text = without_articles(text)
    order, rank, noun = _order(text)
    words = text.split()
    if not words or not re.search(r"\w", text):
        raise ValueError("it names a thing without any word")
    if not re.search(r"[^\W\d_]", text):
        raise ValueError(f"{text!r} names no thing")
    if _DANGLING.search(text):
        raise ValueError(f"{text!r} ends within a phrase")
    if len(words) > MAX_WORDS:
        raise ValueError(f"a thing has {len(words)} words, which is a sentence and no phrase: {text[:80]!r}")
    return Thing(text, noun or noun_of(text), count, order, rank, of=of, relation=relation)


def _order(text: str) -> tuple[Order, int, str]:
    found = _BEFORE.fullmatch(text) or _AROUND.fullmatch(text)
    if found is None:
        return "", 1, ""
    rank, word = found["rank"], found["order"]
    place = 1 if rank is None else int(rank[0]) if rank[0].isdigit() else ORDINALS.index(rank) + 1
    return _SIDES.get(word) or _ORDER_OF[word], max(place, 1), found["noun"]


def _named(exception: str, target: Thing) -> str:
    """An exception in full words: "the blue one" of "glasses" is "blue glasses"."""
    return re.sub(r"\bones?$", target.noun or target.expression, exception)


def _once(things: Sequence[Thing]) -> tuple[Thing, ...]:
    """The things without targets that are repeated word for word, and what describes those."""
    kept: list[Thing] = []
    place: dict[int, int] = {-1: -1}
    said: set[tuple[Thing, ...]] = set()
    for index, thing in enumerate(things):
        group = (thing, *(one for one in things if one.of == index))
        spoken = tuple(Thing(one.expression, count=one.count, relation=one.relation) for one in group)
        if thing.of not in place or (thing.of < 0 and spoken in said):
            continue
        said.add(spoken)
        place[index] = len(kept)
        kept.append(replace(thing, of=place[thing.of]))
    return tuple(kept)
