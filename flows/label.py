"""The `label` flow: a manifest becomes committed shards, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow, get_run_logger
from prefect.events import emit_event
from prefect.runtime import flow_run
from pydantic import PositiveInt

from flows.artifacts import ProgressBoard
from flows.label_artifacts import show_contact_sheet, show_quality, show_recipe
from flows.progress import Progress
from flows.runtime import in_flight, retried
from ivm_data.labeling import PartSummary, Run, label_part, prepare
from ivm_data.recipes import RECIPES
from ivm_data.recipes import recipe as named_recipe
from ivm_data.sources.parts import Part, dataset_name
from storage.catalog import Catalog
from storage.errors import IvmError

if TYPE_CHECKING:
    RecipeName = str
else:
    RecipeName = Literal[tuple(RECIPES)]

LABELS_READY = "ivm.labels.ready"
"""Event that says that every part of a manifest is committed; training listens for it."""


def _run_name() -> str:
    given = flow_run.parameters
    return f"{dataset_name(Path(given['manifest']))} by {given['recipe']} into {Path(given['data']).name}"


@retried("{part.name}")
def label_one(run: Run, part: Part) -> PartSummary:
    """Label and commit one part; safe to run again after anything."""
    return label_part(run, part)


@flow(name="label", flow_run_name=_run_name)
def label(
    manifest: Path,
    data: Path,
    *,
    recipe: RecipeName = "demo",
    overrides: dict[str, Any] | None = None,
    part_size: PositiveInt = 64,
    concurrency: PositiveInt = 2,
    image_root: Path | None = None,
) -> str:
    """Label every pair of a manifest. A run that was killed or failed goes on where it stopped when it is run again.

    Args:
        manifest: JSONL or CSV file with `image` and `instruction`; image paths are relative to its folder.
        data: Folder of the data set; it is made where it is missing.
        recipe: Which experts and thresholds.
        overrides: Fields of the recipe to replace, by dotted name, for example {"gate.accept": 0.9}.
        part_size: Pairs in a part, the unit of retry and commit. A part should take 30 to 60 seconds or more.
        concurrency: Parts under way at the same time; they share the loaded experts.
        image_root: Folder that image paths are relative to, if it is not the manifest's.

    Returns:
        The hash of the recipe, under which the labels lie.
    """
    log = get_run_logger()
    run = prepare(manifest, data, named_recipe(recipe, overrides), part_size, image_root)
    show_recipe(run.recipe, run.recipe_hash)
    progress, failed = Progress.of(run), dict[str, str]()
    board = ProgressBoard("label-progress", progress.counts())
    for part, future in in_flight(label_one, run, run.open_parts(), concurrency):
        outcome = future.result(raise_on_failure=False)
        if isinstance(outcome, PartSummary):
            progress.add(outcome)
        else:
            progress.add_failure()
            failed[part.name] = f"{type(outcome).__name__}: {outcome}"
            log.error("part %s failed: %s", part.name, failed[part.name])
        board.show(progress.percent, progress.counts())
        log.info(progress.line())
    show_quality(data, run.recipe_hash)
    show_contact_sheet(data, run.recipe_hash)
    if failed:
        raise PartsFailedError(failed, len(run.parts))
    announce(run)
    return run.recipe_hash


class PartsFailedError(IvmError):
    """Some parts ended with an error; all others are committed."""

    def __init__(self, failed: dict[str, str], parts: int) -> None:
        listed = "\n".join(f"  {name}: {why}" for name, why in sorted(failed.items()))
        super().__init__(
            f"{len(failed)} of {parts} parts failed, all others are committed:\n{listed}\n"
            "Run the same again to label the failed parts only."
        )


def announce(run: Run) -> None:
    """Tell whoever listens that the labels are ready, with the whole data set's counts for this recipe."""
    with Catalog(run.data) as catalog:
        (summary,) = catalog.query("summary", recipe=run.recipe_hash).to_pylist()
    names = ("inputs", "rejections", "labels", "accepted", "review", "rejected", "no_target")
    emit_event(
        LABELS_READY,
        resource={"prefect.resource.id": f"ivm.labels.{run.recipe_hash}", "prefect.resource.name": run.recipe.name},
        payload={
            "data": str(run.data.resolve()),
            "recipe": run.recipe_hash,
            **{name: summary[name] for name in names},
        },
    )
