"""`ivm explain`: how one label came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ivm_data.cli.console import say, show
from ivm_data.cli.options import DataFolder

_ASKED = ("expression", "noun", "count", "order", "rank", "of", "relation", "reads", "step")
_CANDIDATE = ("chosen", "role", "phrase", "box", "score", "p_yes", "in_context", "relation", "expert", "also found by")
_PROPOSAL = ("expert", "score", "support", "predicted_iou", "stability", "iou_with_label", "area", "human_iou")


def explain(
    sample: Annotated[str, typer.Argument(help="First digits of a sample's id, or the path of its image.")],
    data: DataFolder,
    recipe: Annotated[str, typer.Option(help="Hash of the recipe, where several labeled the pair.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG file of its boxes and masks to write.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell how one label came about: `ivm explain images/000000.png --data data -o story.png`."""
    from ivm_data.outputs import check
    from ivm_data.report.story import story
    from storage.catalog import Catalog

    if out is not None:
        check("explain", out, data)
    with Catalog(data) as catalog:
        told = story(catalog, sample, recipe)
        if out is not None:
            from ivm_data.report.story_picture import picture, save

            save(picture(catalog, told), out)
    if as_json:
        print(json.dumps(told, ensure_ascii=True, default=str))
        return
    _tell(told)
    if out is not None:
        say(f"{out}")


def _tell(told: dict[str, Any]) -> None:
    size = f", {told['width']} x {told['height']} pixels" if told["width"] else ""
    say(f"pair      {told['sample_id']}, {told['part']} at {told['position']}", highlight=False)
    say(f"recipe    {told['recipe']['name']} {told['recipe']['hash']}", highlight=False)
    say(f"image     {told['image_uri']}{size}, of {told['source']}", highlight=False)
    say(f"asked     {told['instruction']}", highlight=False)
    say(f"answered  {told['request']['answer'] or '-'}", highlight=False)
    for note in told["request"]["notes"] or ():
        say(f"          ({note})", highlight=False)
    if told["request"]["things"]:
        rows = [[thing[name] for name in _ASKED] for thing in told["request"]["things"]]
        _table(_ASKED, rows, f"What is searched for (scope: {told['request']['scope']})")
    _table(_CANDIDATE, [_candidate(one) for one in told["candidates"]], "Boxes that the grounders found")
    _table(_PROPOSAL, [[one[name] for name in _PROPOSAL] for one in told["proposals"]], "Masks that experts proposed")
    scores = [(name, value) for name, value in told["scores"].items() if value is not None]
    scores += [("human_iou", told["human_iou"])] if told["human_iou"] is not None else []
    _table(("score", "value"), scores, "Scores")
    words = {True: "yes", False: "no", None: "not known"}
    held = [(rule["score"], rule["value"], rule["asks"], words[rule["holds"]]) for rule in told["rules"]]
    _table(("score", "value", "the gate", "passed"), held, "What the gate asked")
    _later(told)
    ended = told["status"] or f"rejected by stage {told['stage']}"
    say(f"\n{ended}: {told['reason']}, {told['meaning']}", highlight=False)
    if told["detail"]:
        say(told["detail"], highlight=False)
    if told["rules"] and not told["calibration"]:
        say("The recipe has no calibration: quality is how far its experts agree, and no probability.")


def _later(told: dict[str, Any]) -> None:
    """What people and rules said of the label since."""
    for name, title in (("reviews", "Reviews"), ("decisions", "Decisions of cleaning"), ("weights", "Discriminators")):
        if rows := told[name]:
            _table(list(rows[0]), [list(row.values()) for row in rows], title)


def _candidate(one: dict[str, Any]) -> list[Any]:
    box = ", ".join(f"{one['box'][side]:.0f}" for side in ("x0", "y0", "x1", "y1"))
    others = ", ".join(f"{witness['expert']} {witness['score']:.2f}" for witness in one.get("witnesses") or ())
    known = one | {"box": box, "chosen": "yes" if one["chosen"] else "", "also found by": others}
    return [known.get(name) for name in _CANDIDATE]


def _table(columns: Any, rows: list[Any], title: str) -> None:
    """A table under its title; nothing where it has no rows."""
    if rows:
        say("")
        show(columns, rows, title=title)
