"""LMM answers -> requests: what stands there is read, whatever stands around it, and nothing is guessed unsaid.

An answer is JSON, a line "find ...", a list, a sentence of a few known forms, or a bare phrase; anything else cannot be
read, and says why. `Request.notes` tells what was done to an answer that was not simply the line or the JSON asked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ivm_data.experts.lmms import answer_patterns as patterns
from ivm_data.experts.lmms.json_answers import read_json, without_thoughts
from ivm_data.experts.lmms.request_json import request_of
from ivm_data.experts.lmms.request_line import MAX_WORDS, split, things_in
from storage.request import Request, Scope

MAX_CHARACTERS = 4000
"""Of an answer that is read at all."""


class UnreadableAnswerError(ValueError):
    """An answer that is no request, with what is wrong with it."""


def read(answer: str, is_cut: bool = False) -> Request:
    """The request of an answer; one without things, and with what is wrong as its note, where there is none."""
    try:
        return read_request(answer, is_cut)
    except UnreadableAnswerError as error:
        return Request(answer=answer, notes=(str(error),))


def read_request(answer: str, is_cut: bool = False) -> Request:
    """Read an answer of any of the shapes above.

    Args:
        is_cut: the answer was ended by a limit, so its last words may be missing; then only whole JSON is read.

    Returns:
        The request, with the answer as it stood and notes on how it was read.

    Raises:
        UnreadableAnswerError: it is none, or cannot be told to be one.
    """
    notes: list[str] = []
    try:
        text = _cleaned(answer, notes)
        found = _from_json(text, notes)
        if found is None:
            if is_cut:
                raise UnreadableAnswerError("it was cut at the limit of its length before it ended")
            found = _from_words(text, notes)
    except UnreadableAnswerError:
        raise
    except ValueError as error:
        raise UnreadableAnswerError(str(error)) from error
    return replace(found, answer=answer, notes=(*found.notes, *notes))


def _cleaned(answer: str, notes: list[str]) -> str:
    """The answer without thoughts, special tokens and the words of a prompt that it repeats."""
    text = without_thoughts(answer.strip())
    if text != answer.strip():
        notes.append("thoughts before the answer were left out")
    if len(text) > MAX_CHARACTERS:
        raise UnreadableAnswerError(f"it has {len(text):,} characters, and a request has at most {MAX_CHARACTERS:,}")
    if spoken := patterns.SPEAKER.match(text):
        text = text[spoken.end() :]
        notes.append("what stands before the assistant's turn was left out")
    plain = _first_turn(_unboxed(patterns.SPECIAL_TOKEN.sub(" ", text)), notes)
    plain = patterns.TAG.sub("\n", patterns.TAG_WITHIN.sub(" ", plain)).replace("\u00a0", " ").strip()
    if not re.search(r"\w", plain):
        raise UnreadableAnswerError("it is empty")
    if patterns.REFUSAL.search(plain):
        raise UnreadableAnswerError("the model refuses to answer, or says that it cannot")
    if patterns.PROMPT.search(plain):
        raise UnreadableAnswerError("it repeats the prompt")
    return plain


def _unboxed(text: str) -> str:
    while (inner := patterns.BOXED.sub(r"\1", text)) != text:
        text = inner
    return text


def _first_turn(text: str, notes: list[str]) -> str:
    """The answer without further questions and answers of the model's own making."""
    following = patterns.NEXT_TURN.search(text)
    if following is None:
        return text
    first = text[: following.start()]
    if not any(patterns.FIND.search(line) or patterns.LABEL.match(line) for line in first.splitlines()):
        return text
    notes.append("a further question and what follows it were left out")
    return first


def _from_json(text: str, notes: list[str]) -> Request | None:
    """The request of the last whole JSON value that is one; None where there is no JSON."""
    values = [found.value for found in read_json(text) if found.whole]
    values = [value for value in values if isinstance(value, dict) or _holds_targets(value)] or _literals(text)
    if not values:
        if re.match(r"\W{0,12}(?:json)?\s*[{]|\[\s*[{\"]", text):
            raise UnreadableAnswerError("its JSON does not end, or is none")
        return None
    request = request_of(values[-1])
    if len(values) > 1 and any(value != values[-1] for value in values):
        notes.append(f"the last of {len(values)} JSON values was read")
    if not text.startswith(("{", "[")) or not text.endswith(("}", "]")):
        notes.append("words around the JSON were left out")
    return _checked(request, notes)


def _holds_targets(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(one, Mapping | str) for one in value)


def _literals(text: str) -> list[Any]:
    """A Python literal, which models write with single quotes."""
    found = re.search(r"\{.*\}|\[\s*['\"{].*\]", text, re.DOTALL)
    if found is None:
        return []
    try:
        value = ast.literal_eval(found[0])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return [value] if isinstance(value, dict) or (isinstance(value, list) and _holds_targets(value)) else []


def _from_words(text: str, notes: list[str]) -> Request:
    if (placed := patterns.PLACES.sub(" ", text)) != text:
        notes.append("coordinates were left out")
    raw = [line for line in placed.splitlines() if re.search(r"\w", line)]
    lines = [line for line in map(_line, raw) if line.lower() != "find"]
    fields = _fields(lines)
    if fields:
        notes.append("fields on lines of their own were read")
        return _checked(request_of(fields), notes)
    after = [line[match.end() :] for line in lines if (match := patterns.FIND.search(line))]
    found = [said for line in after for said in patterns.FIND_WITHIN.split(line) if said]
    foreign = [said for line in lines if (said := _other_tongue(line, notes))]
    listed = [_entry(_line(line), notes) for line in raw if patterns.BULLET.match(line)]
    sentences = [said for line in lines for sentence in patterns.STOP.split(line) if (said := _said(sentence))]
    if found:
        taken = found
    elif foreign:
        taken = foreign
    elif listed:
        taken = listed
    elif sentences:
        taken = sentences[-1:]
    elif all(_is_phrase(line) or _scope_of(_plain(line)) for line in lines):
        taken = lines
    else:
        raise UnreadableAnswerError("it holds no line 'find ...', no list, no JSON and no bare phrase")
    if len(taken) < len(lines) or (taken is found and not all(map(patterns.FIND.match, lines))):
        notes.append("words around the answer were left out")
    if len(taken) > 1:
        notes.append(f"{len(taken)} lines were united")
    if taken is not found:
        notes.append("no line begins with 'find'")
    return _of_specs([spec for line in taken for spec in _specs(line, notes)], notes)


def _line(line: str) -> str:
    """A line without its bullet, markup, quotes and the label before it."""
    text = patterns.MARKUP.sub("", patterns.BULLET.sub("", line)).strip()
    text = patterns.LABEL.sub("", text).strip()
    while len(text) > 1 and text[0] in patterns.QUOTES + "*_":
        text = text[1:].lstrip()
    return text.rstrip(patterns.QUOTES + "*_ .!:;,")


def _entry(line: str, notes: list[str]) -> str:
    """An entry of a list without its explanation."""
    if field := patterns.FIELD.match(line.lower()):
        return field[2] if field[1] not in ("relation", "anchor", "scope", "count", "order") else line
    explained = patterns.EXPLAINED.match(line)
    if explained is None:
        return line
    notes.append("an explanation beside a thing was left out")
    return explained["thing"]


def _said(sentence: str) -> str:
    """What a sentence of a known form names; "" where it is none."""
    plain = patterns.PURPOSE_FIRST.sub("", sentence)
    return next((match[1] for form in patterns.SENTENCES if (match := form.match(plain))), "")


def _fields(lines: list[str]) -> dict[str, str]:
    """ "target: mug", "relation: left of", each on its own line or in one; {} where other lines are among them."""
    lines = [field for line in lines for field in patterns.NEXT_FIELD.split(line)]
    matches = [match for line in lines if (match := patterns.FIELD.match(line.lower()))]
    fields = {match[1]: match[2] for match in matches}
    if len(lines) > len(fields) > 0 and not patterns.FIELD.match(lines[0].lower()) and "targets" not in fields:
        fields["targets"] = patterns.FIND.sub("", lines[0])
    return fields if len(fields) == len(lines) and len(fields) > 1 else {}


def _specs(line: str, notes: list[str]) -> list[str]:
    """The targets of a line, in words."""
    line = patterns.ARROW.sub(", ", patterns.NUMBER_WITHIN.sub(", ", line))
    text = patterns.ASIDE.sub("", patterns.ROLE.sub("", line))
    if text != line:
        notes.append("a purpose or a second sentence was left out")
    if counted := patterns.COUNT_BEHIND.match(text):
        text = f"{counted['count']} {counted['things']}"
    text = patterns.OF_THE_IMAGE.sub(r"\1", _plain(text))
    if _scope_of(text):
        return [text]
    specs = [patterns.MANNERS.sub("", spec) for spec in split(patterns.IN_THE_IMAGE.sub("", text))]
    return [spec for spec in specs if spec]


def _plain(text: str) -> str:
    """Lower case, without brackets and quotes around words."""
    text = re.sub(r"[()\[\]{}<>]|(?<=\w)_(?=\w)", " ", text.lower())
    text = re.sub(r"(?<!\w)[\"“”„«»'‘`]|[\"“”„«»`](?!\w)|(?<=\s)[’'](?=\s|$)", "", text)
    return " ".join(text.split()).strip(" .!:;,?")


def _of_specs(specs: list[str], notes: list[str]) -> Request:
    scopes = [_scope_of(spec) for spec in specs]
    named = [_of_attribute(spec, notes) for spec, scope in zip(specs, scopes, strict=True) if scope is None]
    things = [spec for spec in named if not patterns.ATTRIBUTE.match(spec)]
    if things:
        named = things
    if not named:
        scope = next((scope for scope in scopes if scope), None)
        if scope is None:
            raise UnreadableAnswerError("it names nothing")
        return Request(scope=scope)
    if any(scopes):
        notes.append("the image as a whole, named beside things, was left out")
    return _checked(Request(things_in(named)), notes)


def _checked(request: Request, notes: list[str]) -> Request:
    """The request, where each of its targets says something; a JSON target may also name the whole image."""
    scopes = [_scope_of(request.things[i].expression) for i in request.targets]
    if scopes and all(scopes) and len(request.things) == len(scopes):
        return Request(scope=scopes[0] or "things")
    for thing in request.things:
        if patterns.QUESTION.match(thing.expression):
            raise UnreadableAnswerError(f"{thing.expression!r} is a question and names no thing")
        if patterns.VAGUE.match(thing.expression) or patterns.ATTRIBUTE.match(thing.expression):
            raise UnreadableAnswerError(f"{thing.expression!r} names nothing that can be searched for")
    if any(scopes):
        raise UnreadableAnswerError("it names the image as a whole, or nothing, beside things")
    return request


def _of_attribute(spec: str, notes: list[str]) -> str:
    """ "colour of the car" -> "car": what one has to look at to see it."""
    thing = patterns.ATTRIBUTE_OF.sub("", spec)
    if thing != spec:
        notes.append(f"{spec!r} is read as {thing!r}, which has to be seen for it")
    return thing


def _scope_of(phrase: str) -> Scope | None:
    if patterns.NOTHING.match(phrase):
        return "nothing"
    return "whole image" if patterns.WHOLE_IMAGE.match(phrase) else None


def _other_tongue(line: str, notes: list[str]) -> str:
    for tongue, find in patterns.OTHER_TONGUES.items():
        if found := find.match(line):
            notes.append(f"the answer is {tongue}")
            return line[found.end() :]
    return ""


def _is_phrase(line: str) -> bool:
    """Whether a bare line may be one or several noun phrases: short ones, and no sentence."""
    if patterns.PREDICATE.search(line) or line.endswith("?") or line.startswith("|"):
        return False
    return not _said(line) and all(len(spec.split()) <= MAX_WORDS for spec in split(_plain(line)))
