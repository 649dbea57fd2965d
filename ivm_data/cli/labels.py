"""`ivm world`, `label`, `calibrate`, `doctor`: what makes labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import progress_bar, say, show, warn
from ivm_data.cli.options import Changes, DataFolder, parse_changes
from ivm_data.cli.pairs_bar import PairsBar
from ivm_data.worlds.split import Split
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.engine.labeling_run import LabelingRun
    from ivm_data.engine.part_outcomes import PartSummary

NOT_BOTH = (
    "{absences} labels that say that there is no target have a known truth; {missing} are missing to fit them, so that "
    "their quality is one number for all and few of them pass the gate"
)
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
    motion: Annotated[
        int, typer.Option(min=0, help="Frames of an episode: a LeRobot set of --scenes episodes, in motion.")
    ] = 0,
) -> None:
    """Draw a procedural world with exact masks: `ivm world demo/world --scenes 100`."""
    from ivm_data.outputs import check
    from ivm_data.worlds.grammar import ALL_KINDS, KINDS, MORE_KINDS
    from ivm_data.worlds.world import write_world

    check("world", out)
    if motion:
        from ivm_data.worlds.motion_set import write_motion

        say(f"{write_motion(out, split, scenes, motion, human_share, start=start)}")
        return
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
    out: Annotated[Path, typer.Option(help="Folder of the data set; running again resumes.")],
    manifest: Annotated[
        Path | None, typer.Option(help="JSONL, CSV or TSV with 'image' and 'instruction'.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures, instead of a manifest.", show_default=False)
    ] = None,
    instruction: Annotated[str, typer.Option(help="Asked of every picture of --images.", show_default=False)] = "",
    instructions: Annotated[
        Path | None,
        typer.Option(help="Text file; a line is asked of every picture, NAME<TAB>LINE of one.", show_default=False),
    ] = None,
    first: Annotated[
        int | None, typer.Option(min=1, help="Take only the first pairs, so many.", show_default="all")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Name of the recipe.", autocompletion=completions.recipes)] = "demo",
    changes: Changes = [],  # noqa: B006
    track: Annotated[
        str,
        typer.Option(
            help="Label key frames of episodes, and carry their masks by this expert: flow, sam2-video?path=DIR",
            show_default="every frame by itself",
        ),
    ] = "",
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
    devices: Annotated[
        str, typer.Option(help="All GPUs ('auto'), or those named: cuda:0,cuda:1; cpu,cpu is two processes on the CPU.")
    ] = "",
    lanes: Annotated[
        int, typer.Option(min=0, help="Batches under way at once, each in another stage.", show_default="the recipe's")
    ] = 0,
    remote: Annotated[str, typer.Option(help="Object store where every part goes too: s3://BUCKET/FOLDER")] = "",
    again: Annotated[
        str, typer.Option(help="Label only what ended so, again: REASON,STAGE:rewrite", metavar="REASON,...")
    ] = "",
    allow_rejections: Annotated[
        bool, typer.Option("--allow-rejections", help="Commit although one stage rejects nearly all for one reason.")
    ] = False,
    guard: Annotated[list[str], typer.Option("--guard", help="When that stops a run: rows=30")] = [],  # noqa: B006
    answers: Annotated[
        str,
        typer.Option(
            help="Folder where experts' answers are kept and read again; 'none' keeps none.", show_default="OUT/answers"
        ),
    ] = "",
    answers_gib: Annotated[float, typer.Option(help="GiB that they take at most.")] = 2.0,
    compact: Annotated[bool, typer.Option(help="Join the files of the parts where there are many.")] = True,
    token_price: Annotated[float, typer.Option(min=0.0, help="Of a million tokens of the LMM endpoint.")] = 0.0,
) -> None:
    """Label a manifest, or pictures: `ivm label --images photos --instruction "Find the cup." --out data`."""
    from ivm_data.config import override
    from ivm_data.engine.guard import GuardConfig
    from ivm_data.engine.labeling_run import prepare
    from ivm_data.engine.outcomes import manifest_counts
    from ivm_data.experts.answers.place import place
    from ivm_data.outputs import check
    from ivm_data.quality.little_accepted import SMALL_WORLD_ALONE, advice, is_embedded
    from ivm_data.quality.regate import same_evidence
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe
    from ivm_data.recipes.labeling_recipes import with_tracker
    from ivm_data.sources.fetch import FetchConfig

    check("data set", out)
    chosen = with_tracker(named_recipe(recipe, parse_changes(changes)), track)
    asked = _Asked(images, instruction, instructions, first)
    manifest, image_root = _manifest(manifest, image_root, asked, out)
    if images is not None and is_embedded(chosen.to_dict()):
        warn(SMALL_WORLD_ALONE.format(recipe=recipe))
    fetching = override(FetchConfig(), parse_changes(fetch_changes)) if fetch else None
    label_manifest = _engine(engine, parse_changes(ray), devices)
    stops = None if allow_rejections else override(GuardConfig(), parse_changes(guard))
    named = tuple(name.strip() for name in again.split(",") if name.strip())
    run = prepare(
        manifest,
        out,
        chosen,
        part_size,
        image_root,
        fetch=fetching,
        remote=remote,
        guard=stops,
        again=named,
        answers=place(out, answers, answers_gib),
        compact=compact,
        lanes=lanes,
    )
    if run.known or named:
        say(_beginning(run, named))
    if run.open_parts() and (other := same_evidence(out, run.recipe_hash)):
        warn(
            f"recipe {run.recipe_hash} differs from {other}, whose labels are here, in its gate alone: "
            f"'ivm gate --data {out} --recipe {other}' with --accept, --reject or --calibration decides anew "
            "without running an expert"
        )
    _say_what_is_read(run)
    with progress_bar() as bar:
        records = sum(part.records for part in run.parts)
        pairs = PairsBar(bar, f"recipe {run.recipe_hash}", records, token_price)
        summaries = label_manifest(run, pairs.add)
    skipped, counts = sum(not summary.fresh for summary in summaries), manifest_counts(run)
    show(["outcome", "pairs"], sorted(counts.statuses.items()), title=f"{out}, recipe {run.recipe_hash}")
    say(f"{len(summaries)} parts, {skipped} of them committed before.")
    if pairs.spent:
        say(f"The LMM endpoint counted {pairs.spent}.")
    read, asked = (sum(getattr(one, name) for one in summaries) for name in ("answers_read", "answers_asked"))
    if read:
        say(f"Of {read + asked} answers of experts {read} were kept from earlier; {asked} were asked for.")
    if counts.elsewhere:
        say(f"{counts.elsewhere} more pairs are in the object store only; fetch them: ivm pull {remote} --out {out}")
    if little := advice(run.recipe.to_dict(), counts.reasons):
        warn(little)
    if counts.bad_inputs:
        warn(f"{counts.bad_inputs} inputs could not be used; see: ivm query --data {out} rejections")
        raise typer.Exit(BAD_INPUT_STATUS)


def _say_what_is_read(run: LabelingRun) -> None:
    """What of earlier runs this one reads, and what that leaves to pay, before it starts."""
    from ivm_data.engine.forecast import forecast

    found = forecast(run)
    if found is None:
        return
    rows = [(one.stage, one.use, one.why, f"{one.most.seconds:.1f}") for one in found.stages]
    show(["stage", "this run", "why", "seconds at most"], rows, title=found.title)
    say(found.price + (f" Answers are kept in '{run.answers.folder}'." if run.answers else " No answers are kept."))


class _Asked(NamedTuple):
    """What is asked of pictures without a manifest, as the options say it."""

    images: Path | None
    instruction: str
    instructions: Path | None
    first: int | None


def _manifest(manifest: Path | None, root: Path | None, asked: _Asked, out: Path) -> tuple[Path, Path | None]:
    """The manifest to label and its image root, both of pictures where there is none yet."""
    from ivm_data.sources.first_records import write_first
    from ivm_data.sources.foreign.pictures import FOLDER, write_asked
    from ivm_data.sources.manifest_parts import columns_of

    if (manifest is None) == (asked.images is None):
        raise ConfigError("give --manifest FILE, or --images FOLDER with --instruction TEXT or --instructions FILE")
    if manifest is not None:
        if asked.instruction or asked.instructions:
            raise ConfigError("--instruction and --instructions belong to --images; a manifest has its own lines")
        columns = columns_of(manifest)
        if columns is not None and columns.guesses:
            say(f"{manifest}: {columns.guesses}.")
        if asked.first is None:
            return manifest, root
        return write_first(manifest, asked.first, out / FOLDER), root or manifest.parent
    if root is not None:
        raise ConfigError("--image-root belongs to --manifest; --images is the root of its pictures itself")
    assert asked.images is not None
    if not asked.images.is_dir():
        seen = "a file" if asked.images.exists() else "not there"
        raise ConfigError(f"--images '{asked.images}' is {seen}; give the folder that the pictures lie in")
    if bool(asked.instruction.strip()) == bool(asked.instructions):
        raise ConfigError("give --images either --instruction TEXT or --instructions FILE with a line for each")
    written = write_asked(out, asked.images, asked.instruction, asked.instructions, asked.first)
    say(f"{written}: what is asked of the pictures in '{asked.images}'.")
    return written, asked.images


def _beginning(run: LabelingRun, again: Sequence[str]) -> str:
    """What a run finds, in words."""
    if again:
        return f"{run.pairs - run.known} of {run.pairs} pairs are labeled again: {', '.join(again)}."
    return f"{run.known} of {run.pairs} pairs are labeled already."


def calibrate(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="JSON file to write; give it to 'ivm gate', or name it in a recipe.")],
    plot: Annotated[
        Path | None, typer.Option(help="SVG, PNG or PDF file with the reliability.", show_default=False)
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
) -> None:
    """Learn from human masks and reviews how scores become quality: `ivm calibrate --data data --out mine.json`."""
    import pyarrow.compute as pc

    from ivm_data.outputs import check
    from ivm_data.quality.fit_calibration import lessons, reliability, teaching
    from ivm_data.report.figures import draw_reliability
    from storage.data_set import DataSet
    from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES
    from storage.reading.reader import among

    check("calibrate", out, data)
    if plot is not None:
        check("figure", plot, data)
    with DataSet.open(data, recipe) as opened:
        bound = opened.at(opened.recipe)
        reviewed = teaching(bound)
        known = pc.field("has_human") | among("sample_id", {name for _, name in reviewed})
        learned = lessons(bound.labels(known & ~pc.field("held_out")), reviewed)
        kept = sum(one.drawn is not None and one.drawn.order == "random" for one in bound.reviews())
    calibration = learned.fit()
    found = {
        "masks": reliability(MASK_FEATURES, learned.masks),
        "absences": reliability(ABSENT_FEATURES, learned.absences),
    }
    calibration.save(out)
    if learned.absences.missing:
        warn(NOT_BOTH.format(absences=len(learned.absences.right), missing=learned.absences.missing))
    show(["labels by truth", "labels"], sorted(learned.by.items()))
    rows = [(what, one.labels, one.right, one.auc, one.ece) for what, one in found.items()]
    show(["of", "labels", "right", "AUC", "ECE"], rows, title="on images that a fit did not see")
    bins = [
        (f"{b.quality_from:.1f} to {b.quality_to:.1f}", b.labels, b.quality, b.right_share) for b in found["masks"].bins
    ]
    show(["quality of masks", "labels", "mean quality", "share right"], bins)
    if plot is not None:
        draw_reliability({what: one.bins for what, one in found.items()}, plot)
        say(f"{plot}")
    say(f"{out}: fitted on {calibration.rows[0]} masks and {calibration.rows[1]} absences")
    if kept:
        say(f"{kept} reviews in random order were left out: they judge gates, see 'ivm gate --precision'")


def _engine(
    name: str, changes: Mapping[str, str], devices: str
) -> Callable[[LabelingRun, Callable[[PartSummary], None]], list[PartSummary]]:
    if name == "local" and changes:
        raise ConfigError(f"--ray {next(iter(changes))}=... needs --engine ray")
    from ivm_data.config import override
    from ivm_data.engine.ray_config import RayConfig

    config = override(RayConfig(), changes) if name == "ray" else None
    if devices:
        from ivm_data.engine import workers
        from ivm_data.engine.devices import devices_of

        named = devices_of(devices)
        return lambda run, progress: workers.label_manifest(run, named, progress, config)
    if config is None:
        from ivm_data.engine.labeling import label_manifest

        return label_manifest
    from ivm_data.engine import ray_engine

    return lambda run, progress: ray_engine.label_manifest(run, config, progress)
