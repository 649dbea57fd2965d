"""A manifest labeled part by part, without an orchestrator: what the flows schedule and `ivm label` runs in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivm_data.pipeline import Pipeline
from ivm_data.recipes import Recipe
from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.parts import Part
from storage.errors import ConfigError
from storage.records import Label, PartResult
from storage.shards import commit_part, is_committed, write_recipe

INPUT_STAGE = "ingest"


@dataclass(frozen=True)
class PartSummary:
    """What became of one part.

    Attributes:
        fresh: this call labeled it; False where it was committed before.
        statuses: count of labels by status, and of rejections by reason; empty where not fresh.
    """

    part: str
    rows: int
    fresh: bool
    statuses: Counter[str]
    bad_inputs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """A planned run: what will be labeled, with what, into where.

    Attributes:
        image_root: folder that image paths are relative to; None means the manifest's.
    """

    data: Path
    parts: tuple[Part, ...]
    recipe: Recipe
    recipe_hash: str
    image_root: Path | None = None

    def open_parts(self) -> list[Part]:
        """Parts that are not committed yet."""
        return [part for part in self.parts if not is_committed(self.data, self.recipe_hash, part.name)]


def prepare(manifest: Path, data: Path, recipe: Recipe, part_size: int, image_root: Path | None = None) -> Run:
    """Load the experts, plan the parts and write down the recipe: whatever is wrong with either shows up here.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    if image_root is not None and not image_root.is_dir():
        raise ConfigError(
            f"image root '{image_root}' is not a folder; give the folder that image paths are relative to"
        )
    parts = tuple(plan(manifest, part_size))
    pipeline = Pipeline(recipe)
    data.mkdir(parents=True, exist_ok=True)
    lineage = {"experts": [{"role": role, "name": name} for role, name in pipeline.lineage.experts]}
    write_recipe(data, pipeline.lineage.recipe, recipe.to_dict() | lineage)
    return Run(data, parts, recipe, pipeline.lineage.recipe, image_root)


def label_part(run: Run, part: Part) -> PartSummary:
    """Label and commit one part; a committed part is skipped. Calling it again after any crash is safe."""
    if is_committed(run.data, run.recipe_hash, part.name):
        return PartSummary(part.name, part.records, False, Counter())
    result = Pipeline(run.recipe).run(part.name, list(read_part(part, run.image_root)))
    committed = commit_part(run.data, result)
    return _summary(result, committed.fresh)


def label_manifest(run: Run, progress: Callable[[PartSummary], None] = lambda summary: None) -> list[PartSummary]:
    """Every part in a row."""
    summaries = []
    for part in run.parts:
        summaries.append(label_part(run, part))
        progress(summaries[-1])
    return summaries


def total(summaries: Sequence[PartSummary]) -> Counter[str]:
    """Counts by status and rejection reason over all parts that were labeled now."""
    return sum((summary.statuses for summary in summaries), Counter())


def _summary(result: PartResult, fresh: bool) -> PartSummary:
    labels = [outcome for outcome in result.outcomes if isinstance(outcome, Label)]
    rejections = [outcome for outcome in result.outcomes if not isinstance(outcome, Label)]
    statuses = Counter(label.status.value for label in labels) + Counter(f"failed: {r.reason}" for r in rejections)
    bad = sum(rejection.stage == INPUT_STAGE for rejection in rejections)
    return PartSummary(
        result.part, len(result.outcomes), fresh, statuses, bad, sum(timing.seconds for timing in result.timings)
    )
