"""`ivm rewrite`: what a rewriter makes of an instruction, and how the answers of any LMM are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import say, show
from ivm_data.cli.options import Changes, parse_changes, recipe_options
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.experts.common.protocols import Rewriter
    from storage.request import Request


def rewrite(
    instruction: Annotated[str, typer.Argument(help="What an image is asked for.", show_default=False)] = "",
    image: Annotated[Path | None, typer.Option(help="Image that the rewriter may look at.", show_default=False)] = None,
    recipe: Annotated[
        str, typer.Option(help="Name of the recipe whose rewriter is asked.", autocompletion=completions.recipes)
    ] = "demo",
    changes: Changes = [],  # noqa: B006
    read: Annotated[
        Path | None,
        typer.Option(help='Read raw answers instead, a JSON object {"answer": ...} a line.', show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What is searched for: `ivm rewrite "put the red cup on the plate"`; or `ivm rewrite --read answers.jsonl`.

    Nothing is labeled and nothing is written. With `--read` no model is loaded: try how the answers of yours are read.
    """
    if bool(instruction) == bool(read):
        raise ConfigError('give an instruction, or --read FILE with a line {"answer": ...} for each answer')
    if read is not None:
        requests = [_read_line(number, line) for number, line in enumerate(_lines(read), 1)]
    else:
        requests = [_asked(instruction, image, recipe, parse_changes(changes))]
    if as_json:
        for request in requests:
            say(json.dumps(in_short(request) | {"answer": request.answer}, ensure_ascii=False), highlight=False)
    else:
        head = ["asked for", "count", "relation", "scope", "words known", "notes"]
        show(head, [_row(request) for request in requests])


def in_short(request: Request) -> dict[str, Any]:
    """A request in its short form, with all its things, and with `fault` where an answer could not be read.

    `targets` are in words; `understood` is the share of the instruction's words that the rewriter knows;
    `relation` and `anchor` are those of the first target that is described by a direction.
    Other relations stand in the words of their target.
    """
    from dataclasses import asdict

    from storage.request import DIRECTIONS

    words, relation, anchor = [], "", ""
    for target in request.targets:
        words.append(request.things[target].expression)
        others = [other for _, other in request.describing(target)]
        for name in dict.fromkeys(other.relation for other in others):
            named = [other.expression for other in others if other.relation == name]
            if name not in DIRECTIONS:
                words[-1] += f" {name} {' and '.join(named)}"
            elif not relation:
                relation, anchor = name, named[0]
    readable = bool(request.things) or request.scope != "things"
    return {
        "targets": words,
        "relation": relation,
        "anchor": anchor,
        "all": request.quantity == "all",
        "scope": request.scope if readable else None,
        "understood": request.understood,
        "things": [asdict(thing) for thing in request.things],
        "notes": list(request.notes) if readable else [],
        "fault": "" if readable else "; ".join(request.notes),
    }


def _row(request: Request) -> tuple[str, ...]:
    short = in_short(request)
    described = f"{short['relation']} {short['anchor']}" if short["relation"] else ""
    count = "all" if short["all"] else "one" if short["targets"] else ""
    notes = short["fault"] or "; ".join(short["notes"])
    scope, known = short["scope"] or "unreadable", f"{request.understood:.0%}"
    return ", ".join(short["targets"]), count, described, scope, known, notes


def _asked(instruction: str, image: Path | None, recipe: str, changes: dict[str, str]) -> Request:
    from ivm_data.experts.registry import get
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe
    from ivm_data.recipes.weights_here import require_weights

    chosen = named_recipe(recipe, changes)
    require_weights(chosen, recipe_options(recipe, changes), "rewriter")
    rewriter: Rewriter = get(chosen.rewriter)
    if image is None:
        return rewriter.rewrite([instruction])[0]
    from storage.pixels.images import decode

    try:
        shown_HWC = decode(image.read_bytes())
    except OSError as error:
        raise ConfigError(f"image '{image}' cannot be read ({error.strerror or error})") from error
    return rewriter.rewrite([instruction], [shown_HWC])[0]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"answers '{path}' cannot be read ({error}); give a JSONL file in UTF-8") from error


def _read_line(number: int, line: str) -> Request:
    from ivm_data.experts.lmms.request_reader import read
    from storage.request import Request

    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("answer"), str):
        return Request(notes=(f"line {number} is no JSON object with a text under 'answer'",))
    return read(row["answer"], row.get("cut") is True)
