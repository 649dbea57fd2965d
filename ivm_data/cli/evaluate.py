"""`ivm evaluate`, `vstar`, `search-world`: masks against truth, and what they are worth to an LMM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from ivm_data.cli.console import progress_bar, say, warn
from ivm_data.cli.labels import BAD_INPUT_STATUS
from ivm_model.how import How

Limit = Annotated[int, typer.Option(help="Use at most so many; 0 for all.")]
SHOWN_BAD = 5


def evaluate(
    manifest: Annotated[Path, typer.Option(help="JSONL or CSV with masks; what systems are scored on.")],
    on: Annotated[
        list[str], typer.Option(help="A system, as often as you like: model:DIR, recipe:demo, boxes:demo, ...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Report to write, .md or .json.")],
    image_root: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.", show_default="the manifest's")
    ] = None,
    limit: Limit = 0,
) -> None:
    """Score systems on masks: `ivm evaluate --manifest m.jsonl --on model:my-model --on recipe:demo -o scores.md`.

    Systems: model:DIR, recipe:NAME (a whole recipe's labels), boxes:NAME (its grounder and segmenter alone),
    proposer:NAME.K (its mask proposer K), expert:NAME?path=... (any mask proposer), labels:DIR (committed labels).
    Options follow a question mark: "recipe:demo?fuse.threshold=0.4".
    """
    from ivm_data.evaluation.mask_table import evaluate_masks
    from ivm_data.evaluation.report import check_suffix, masks_markdown, write
    from ivm_data.evaluation.systems import system
    from ivm_data.evaluation.testset import TestSet
    from ivm_data.outputs import check

    check_suffix(out)
    check("evaluate", out)
    test = TestSet(manifest, image_root, limit)
    systems = [system(name) for name in on]
    with progress_bar() as bar:
        task = bar.add_task("questions", total=test.records)
        table = evaluate_masks(test, systems, lambda done: bar.advance(task, done))
    write(table, out)
    say(masks_markdown(table).split("\n\n## By ")[0], highlight=False)
    say(f"{out}")
    _exit_with(table.bad)


def vstar(
    data: Annotated[Path, typer.Option(help="Folder of V*Bench, or one that `ivm search-world` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Report to write, .md or .json.")],
    lmm: Annotated[
        str, typer.Option(help="hf-lmm?path=DIR or openai?base_url=URL&model=NAME.")
    ] = "hf-lmm?path=zoo:lmm",
    how: Annotated[
        list[str], typer.Option(help="none (the whole image), overlay, blur, gray, crop, overlay+crop; repeat it.")
    ] = ["none", "crop"],  # noqa: B006
    masks: Annotated[
        list[str], typer.Option(help="Whose masks: truth, or a system as of `ivm evaluate`; repeat it.")
    ] = ["truth"],  # noqa: B006
    mode: Annotated[
        Literal["likelihood", "letter"], typer.Option(help="Compare the options' likelihoods, or read a letter.")
    ] = "likelihood",
    seed: Annotated[int, typer.Option(help="Shuffles the options.")] = 0,
    limit: Limit = 0,
) -> None:
    """Ask an LMM with and without masks: `ivm vstar --data vstar_bench --how none --how crop -o vstar.md`."""
    from ivm_data.evaluation.downstream import TRUTH, evaluate_answers, lmm_of
    from ivm_data.evaluation.report import answers_markdown, check_suffix, write
    from ivm_data.evaluation.systems import System, system
    from ivm_data.evaluation.vstar import read_vstar
    from ivm_data.outputs import check

    check_suffix(out)
    check("vstar", out)
    questions, bad = read_vstar(data, limit)
    systems: list[System | Literal["truth"]] = ["truth" if name == TRUTH else system(name) for name in masks]
    hows = cast("list[How]", [one for one in how if one != "none"])
    with progress_bar() as bar:
        task = bar.add_task("questions", total=len(questions))
        table = evaluate_answers(
            data.name, questions, lmm_of(lmm), hows, systems, mode=mode,
            whole="none" in how, seed=seed, bad=bad, progress=lambda done: bar.advance(task, done),
        )  # fmt: skip
    write(table, out)
    say(answers_markdown(table), highlight=False)
    say(f"{out}")
    _exit_with(table.bad)


def search_world(
    out: Annotated[Path, typer.Argument(help="Folder to write, in the layout of V*Bench.")],
    questions: Annotated[int, typer.Option(help="Number of images of each kind, each with a question.")] = 100,
    side: Annotated[int, typer.Option(help="Width and height of the images in pixels.")] = 512,
    start: Annotated[int, typer.Option(help="Index of the first image.")] = 0,
    kinds: Annotated[str, typer.Option(help="attribute, relation, or both with a comma.")] = "attribute,relation",
) -> None:
    """Draw large canvases with a question about a small thing: `ivm search-world search --side 512`."""
    from ivm_data.outputs import check
    from ivm_data.worlds.search import write_search

    check("search-world", out)
    chosen = [kind.strip() for kind in kinds.split(",")]
    say(f"{write_search(out, questions, side, start, chosen)}")


def _exit_with(bad: tuple[str, ...]) -> None:
    """Name the first bad inputs, and end with the status that says that there were any."""
    for line in bad[:SHOWN_BAD]:
        warn(line)
    if bad:
        warn(f"{len(bad)} inputs could not be used")
        raise typer.Exit(BAD_INPUT_STATUS)
