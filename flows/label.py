"""The `label` flow: a manifest becomes committed shards, part by part."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.events import emit_event
from prefect.runtime import flow_run
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from flows.artifacts import ProgressBoard
from flows.assets import report_labels
from flows.choices import RecipeName
from flows.label_artifacts import rejected_samples, show_contact_sheet, show_quality, show_recipe, show_strips
from flows.limits import LMM, gpu, slots, wanted
from flows.logs import log_to_runs
from flows.progress import LabelingProgress
from flows.runtime import in_flight, retried
from ivm_data.config import override
from ivm_data.engine import workers
from ivm_data.engine.devices import devices_of
from ivm_data.engine.forecast import forecast
from ivm_data.engine.guard import GuardConfig, guarded
from ivm_data.engine.labeling import PartsFailedError, commit, settle, tidy, try_part
from ivm_data.engine.labeling_run import LabelingRun, prepare
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.ray_config import RayConfig
from ivm_data.engine.ray_engine import label_parts
from ivm_data.experts.answers.place import place
from ivm_data.quality.little_accepted import advice
from ivm_data.recipes.labeling_recipes import recipe as named_recipe
from ivm_data.recipes.labeling_recipes import with_tracker
from ivm_data.sources.fetch import FetchConfig
from ivm_data.sources.manifest_parts import ManifestPart, dataset_name
from storage.catalog import Catalog
from storage.display import escaped, one_line

LABELS_READY = "ivm.labels.ready"
"""Event that says that every part of a manifest is committed; training listens for it."""


def _run_name() -> str:
    given = flow_run.parameters
    return one_line(f"{dataset_name(Path(given['manifest']))} by {given['recipe']} into {Path(given['data']).name}")


@retried("{part.name}")
def label_one(run: LabelingRun, part: ManifestPart) -> PartSummary | Suspect:
    """Label one part, and commit it unless it is in doubt; safe to run again after anything."""
    with slots(wanted(run.recipe)):
        return try_part(run, part)


@flow(name="label", flow_run_name=_run_name)
def label(
    manifest: Path,
    data: Path,
    *,
    recipe: RecipeName = "demo",
    overrides: dict[str, Any] | None = None,
    track: str = "",
    part_size: PositiveInt = 64,
    concurrency: PositiveInt = 2,
    image_root: Path | None = None,
    fetch: bool = False,
    engine: Literal["local", "ray"] = "local",
    ray: dict[str, Any] | None = None,
    devices: str = "",
    lanes: NonNegativeInt = 0,
    remote: str = "",
    token_price: NonNegativeFloat = 0,
    again: list[str] | None = None,
    allow_rejections: bool = False,
    guard: dict[str, Any] | None = None,
    answers: str = "",
    answers_gib: PositiveFloat = 2.0,
    compact: bool = True,
) -> str:
    """Label every pair of a manifest. A run that was killed or failed goes on where it stopped when it is run again.

    Args:
        manifest: JSONL or CSV file with `image` and `instruction`; image paths are relative to its folder.
        data: Folder of the data set; it is made where it is missing.
        recipe: Which experts and thresholds.
        overrides: Fields of the recipe to replace, by dotted name, for example {"gate.accept": 0.9}.
        track: Expert that carries the masks of key frames along episodes, "flow"; "" labels every frame by itself.
        part_size: Pairs in a part, the unit of retry and commit. A part should take 30 to 60 seconds or more.
        concurrency: Parts under way at the same time; they share the loaded experts.
        image_root: Folder that image paths are relative to, if it is not the manifest's.
        fetch: Fetch images whose path is an http or https URL, from public addresses only.
        engine: Tasks of this run, or actors of Ray Data, which spread over the machines of a Ray cluster.
        ray: Fields of the Ray configuration to replace, for example {"address": "auto", "ground.gpus": 0.5}.
        devices: "auto" labels on all GPUs of this machine, a process each, or with Ray the stages spread over them;
            "cuda:0,cuda:1" on those; "" in this process, or with Ray as its configuration says.
        lanes: Batches of a part under way at once, each in another stage; 0 leaves it to the recipe.
        remote: Object store where every part goes too, s3://BUCKET/FOLDER; parts that are there are skipped.
        again: Reason codes, and stages as "STAGE:rewrite"; then only pairs that ended so are labeled, once more.
        token_price: Price of a million tokens of the LMM endpoint; the progress then shows what the run costs.
        allow_rejections: Commit parts although one stage rejects nearly all of them for one reason.
        guard: Fields of the guard to replace that stops a run otherwise, for example {"rows": 30}.
        answers: Folder where experts' answers are kept and read again; "" for one in the data set, "none" for nowhere.
        answers_gib: GiB that they take at most.
        compact: Join the files of the parts where there are many; not for a run on several machines or with `remote`.

    Returns:
        The hash of the recipe, under which the labels lie.
    """
    log_to_runs()
    log = get_run_logger()
    config = override(RayConfig(), ray or {})
    fetching = FetchConfig() if fetch else None
    chosen = with_tracker(named_recipe(recipe, overrides), track)
    stops = None if allow_rejections else override(GuardConfig(), guard or {})
    run = prepare(
        manifest,
        data,
        chosen,
        part_size,
        image_root,
        fetch=fetching,
        remote=remote,
        guard=stops,
        again=again or (),
        answers=place(data, answers, answers_gib),
        compact=compact and (engine == "local" or config.here),
        lanes=lanes,
    )
    log.info("%d of %d pairs are %s", run.known, run.pairs, "not asked for again" if again else "labeled already")
    if expected := forecast(run):
        log.info("%s", "\n".join(expected.lines()))
    show_recipe(run.recipe, run.recipe_hash)
    progress, failed, files = LabelingProgress.of(run, token_price), dict[str, str](), tidy(run)
    board = ProgressBoard("label-progress", progress.counts())
    if devices:
        outcomes = _by_devices(run, config, devices, pools=engine == "ray")
    else:
        outcomes = label_parts(run, config) if engine == "ray" else _by_tasks(run, concurrency)
    for outcome in guarded(outcomes, run.guard, partial(commit, run)):
        if isinstance(outcome, PartSummary):
            progress.add(outcome)
            for line in rejected_samples(run, outcome):
                log.warning("%s", line)
        else:
            progress.add_failure()
            failed[outcome.part] = outcome.why
            log.error("part %s failed: %s", outcome.part, escaped(outcome.why))
        board.show(progress.percent, progress.counts())
        log.info(progress.line())
        files.committed(isinstance(outcome, PartSummary) and outcome.fresh)
    outcomes.close()  # After a stop, the parts under way are waited for.
    settle(run)
    progress.settle(run)
    board.show(progress.percent, progress.counts())
    log.info("in all: %s", progress.line())
    if little := advice(run.recipe.to_dict(), progress.reasons):
        log.warning("%s", little)
    with Catalog(data) as catalog:
        shown = show_quality(catalog, data, run.recipe_hash)
        show_contact_sheet(catalog, run.recipe_hash)
        show_strips(catalog, run.recipe_hash)
    counts = label_counts(shown["summary"])
    if counts["inputs"]:
        report_labels(run, counts)
    if failed:
        raise PartsFailedError(failed, len(run.parts), len(run.open_parts()) - len(failed))
    announce(run, counts, progress.accepted_now)
    return run.recipe_hash


def _by_tasks(run: LabelingRun, concurrency: int) -> Generator[PartOutcome | Suspect, None, None]:
    """Every open part as a task; each comes when it is committed, in doubt, or has failed."""
    for part, future in in_flight(label_one, run, run.open_parts(), concurrency):
        outcome = future.result(raise_on_failure=False)
        if not isinstance(outcome, PartSummary | Suspect):
            outcome = Failure.of(part.name, outcome)
        yield outcome


def _by_devices(
    run: LabelingRun, config: RayConfig, devices: str, *, pools: bool
) -> Generator[PartOutcome | Suspect, None, None]:
    """Every open part by a process on each device, or by pools that are spread over them; this run holds them all."""
    plan = workers.on_devices(run, devices_of(devices), pools=pools)
    get_run_logger().info("%s", "; ".join(f"{device}: {what}" for device, what in plan.rows()))
    held = [gpu(int(device[5:])) for device, _ in plan.rows() if device.startswith("cuda:")]
    with slots([*held, *(name for name in wanted(run.recipe) if name == LMM)]):
        if plan.pools:
            yield from label_parts(run, plan.ray(config))
        else:
            yield from workers.label_parts(run, plan.workers)


def label_counts(summary: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The whole data set's counts for one recipe; zeros where nothing is committed.

    Args:
        summary: rows of the query of that name.
    """
    names = ("inputs", "rejections", "labels", "accepted", "review", "rejected", "no_target", "whole_image")
    return {name: summary[0][name] if summary else 0 for name in names}


def announce(run: LabelingRun, counts: Mapping[str, int], accepted_new: int) -> None:
    """Emit the event that the labels are ready."""
    emit_event(
        LABELS_READY,
        resource={"prefect.resource.id": f"ivm.labels.{run.recipe_hash}", "prefect.resource.name": run.recipe.name},
        payload={"data": str(run.data.resolve()), "recipe": run.recipe_hash, "accepted_new": accepted_new, **counts},
    )
