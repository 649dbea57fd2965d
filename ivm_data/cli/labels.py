"""`ivm world`, `label`, `calibrate`, `doctor`: what makes labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ivm_data.cli.console import progress_bar, say, show, warn
from ivm_data.cli.options import Changes, DataFolder, parse_changes
from ivm_data.worlds.split import Split
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.engine.labeling import LabelingRun
    from ivm_data.engine.part_outcomes import PartSummary
    from ivm_data.recipes.doctor import Total

BAD_INPUT_STATUS = 3
"""Exit status of a run that finished although some inputs could not be used; they are in the `rejections` view."""


def world(
    out: Annotated[Path, typer.Argument(help="Folder to write images/ and manifest.jsonl into.")],
    split: Annotated[Split, typer.Option(help="train, val or test; only test has the held-out combinations.")] = "test",
    scenes: Annotated[int, typer.Option(help="Number of images.")] = 100,
    pairs_per_scene: Annotated[int, typer.Option(help="Instructions for each image.")] = 3,
    human_share: Annotated[float, typer.Option(help="Share of images whose masks may train and calibrate.")] = 0.2,
    start: Annotated[int, typer.Option(help="Index of the first scene.")] = 0,
    kinds: Annotated[
        str, typer.Option(help="Kinds of instructions: first, more, all, or some by name, as in ordinal,between.")
    ] = "first",
) -> None:
    """Draw a procedural world with exact masks: `ivm world demo/world --scenes 100`."""
    from ivm_data.outputs import check
    from ivm_data.worlds.grammar import ALL_KINDS, KINDS, MORE_KINDS
    from ivm_data.worlds.world import write_world

    check("world", out)
    named = {"first": KINDS, "more": MORE_KINDS, "all": ALL_KINDS}.get(kinds)
    manifest = write_world(
        out,
        split,
        scenes=scenes,
        pairs_per_scene=pairs_per_scene,
        human_share=human_share,
        start=start,
        kinds=named or tuple(kind.strip() for kind in kinds.split(",")),
    )
    say(f"{manifest}")


def label(
    manifest: Annotated[Path, typer.Option(help="JSONL or CSV with 'image' and 'instruction'.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set; running again resumes.")],
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "demo",
    changes: Changes = [],  # noqa: B006
    part_size: Annotated[int, typer.Option(help="Pairs in a part, the unit of retry and commit.")] = 64,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.", show_default="the manifest's")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch images whose path is an http or https URL.")] = False,
    fetch_changes: Annotated[
        list[str], typer.Option("--fetch-set", help="An option of --fetch: timeout_s=5, cache=FOLDER")
    ] = [],  # noqa: B006
    engine: Annotated[Literal["local", "ray"], typer.Option(help="This process, or actors of Ray Data.")] = "local",
    ray: Annotated[list[str], typer.Option("--ray", help="Replace a field of RayConfig: ground.gpus=0.5")] = [],  # noqa: B006
    remote: Annotated[str, typer.Option(help="Object store where every part goes too: s3://BUCKET/FOLDER")] = "",
    again: Annotated[
        str, typer.Option(help="Label only what ended so, again: REASON,STAGE:rewrite", metavar="REASON,...")
    ] = "",
    allow_rejections: Annotated[
        bool, typer.Option("--allow-rejections", help="Commit although one stage rejects nearly all for one reason.")
    ] = False,
    guard: Annotated[list[str], typer.Option("--guard", help="When that stops a run: rows=30")] = [],  # noqa: B006
) -> None:
    """Label a manifest: `ivm label --manifest photos/manifest.jsonl --out data`."""
    from ivm_data.config import override
    from ivm_data.engine.guard import GuardConfig
    from ivm_data.engine.labeling import prepare
    from ivm_data.engine.outcomes import manifest_counts
    from ivm_data.outputs import check
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe
    from ivm_data.sources.fetch import FetchConfig

    check("data set", out)
    fetching = override(FetchConfig(), parse_changes(fetch_changes)) if fetch else None
    label_manifest, chosen = _engine(engine, parse_changes(ray)), named_recipe(recipe, parse_changes(changes))
    stops = None if allow_rejections else override(GuardConfig(), parse_changes(guard))
    named = tuple(name.strip() for name in again.split(",") if name.strip())
    run = prepare(manifest, out, chosen, part_size, image_root, fetch=fetching, remote=remote, guard=stops, again=named)
    if run.known or named:
        say(_beginning(run, named))
    with progress_bar() as bar:
        task = bar.add_task(f"recipe {run.recipe_hash}", total=sum(part.records for part in run.parts))
        summaries = label_manifest(run, lambda summary: bar.advance(task, summary.rows))
    skipped, counts = sum(not summary.fresh for summary in summaries), manifest_counts(run)
    show(["outcome", "pairs"], sorted(counts.statuses.items()), title=f"{out}, recipe {run.recipe_hash}")
    say(f"{len(summaries)} parts, {skipped} of them committed before.")
    if counts.elsewhere:
        say(f"{counts.elsewhere} more pairs are in the object store only; fetch them: ivm pull {remote} --out {out}")
    if counts.bad_inputs:
        warn(f"{counts.bad_inputs} inputs could not be used; see: ivm query --data {out} rejections")
        raise typer.Exit(BAD_INPUT_STATUS)


def _beginning(run: LabelingRun, again: Sequence[str]) -> str:
    """What a run finds, in words."""
    if again:
        return f"{run.pairs - run.known} of {run.pairs} pairs are labeled again: {', '.join(again)}."
    return f"{run.known} of {run.pairs} pairs are labeled already."


def calibrate(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="JSON file to write; name it in a recipe's 'calibration'.")],
) -> None:
    """Learn from human rows how scores become quality: `ivm calibrate --data data --out calibration.json`."""
    import pyarrow.compute as pc

    from ivm_data.outputs import check
    from ivm_data.quality.fit_calibration import calibrate as fit
    from storage.data_set import DataSet

    check("calibrate", out, data)
    with DataSet.open(data) as opened:
        calibration = fit(opened.labels(pc.field("has_human") & ~pc.field("held_out")))
    calibration.save(out)
    say(f"{out}: fitted on {calibration.rows[0]} masks and {calibration.rows[1]} absences")


def doctor(
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "demo",
    changes: Changes = [],  # noqa: B006
) -> None:
    """Check what a recipe needs on this machine; print the command for what is missing: `ivm doctor --recipe card`."""
    from ivm_data.recipes.doctor import examine, totals, versions
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe

    show(["package", "version"], versions().items())
    findings = examine(named_recipe(recipe, parse_changes(changes)))
    shown = [(f.role, f.expert, f.what, f.device, f.dtype, f.state, _mib(f.mib), _mib(f.memory_mib)) for f in findings]
    show(["role", "expert", "weights", "device", "dtype", "state", "file MiB", "memory MiB"], shown, title=recipe)
    found = totals(findings)
    for total in found:
        say(f"{total.device}: {_weight(total)}")
    advice = dict.fromkeys(f.advice for f in findings if f.advice)
    for line in advice:
        say(line, highlight=False)
    if advice or not all(total.fits for total in found):
        raise typer.Exit(1)


def _weight(total: Total) -> str:
    """What weights take of a device, in words."""
    unknown = f" and {total.unknown} checkpoints of unknown size" if total.unknown else ""
    if total.memory_mib is None:
        return f"weights take {total.weights_mib:,.0f} MiB{unknown}, and activations more"
    rest = "activations come on top" if total.fits else "too little: take --recipe small, or smaller models by --set"
    return f"weights take {total.weights_mib:,.0f} MiB{unknown} of {total.memory_mib:,.0f} MiB; {rest}"


def _engine(
    name: str, changes: Mapping[str, str]
) -> Callable[[LabelingRun, Callable[[PartSummary], None]], list[PartSummary]]:
    if name == "local":
        from ivm_data.engine.labeling import label_manifest

        if changes:
            raise ConfigError(f"--ray {next(iter(changes))}=... needs --engine ray")
        return label_manifest
    from ivm_data.config import override
    from ivm_data.engine import ray_engine
    from ivm_data.engine.ray_config import RayConfig

    config = override(RayConfig(), changes)
    return lambda run, progress: ray_engine.label_manifest(run, config, progress)


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size:,.1f}"
