"""A run of labeling and how it is planned: which parts of a manifest are left, and with which experts."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ivm_data.engine.guard import DEFAULT_GUARD, GuardConfig
from ivm_data.engine.pipeline import Pipeline, lineage_of
from ivm_data.engine.planning import Chosen, choose, choose_again
from ivm_data.experts.answers.store import AnswersConfig
from ivm_data.experts.registry import name_of
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_data.recipes.weights_here import require_weights
from ivm_data.sources.fetch import FetchConfig
from ivm_data.sources.manifest import plan_records
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from storage.data_set import DataSet
from storage.errors import ConfigError, IvmWarning
from storage.inputs import Known, KnownPairs
from storage.ledger import known
from storage.parts.shards import committed_parts, is_committed
from storage.records import Lineage
from storage.tables.recipes import write_recipe
from storage.upkeep.remote import committed, push, taken_in


@dataclass(frozen=True)
class LabelingRun:
    """A planned run: what will be labeled, with what, into where.

    Attributes:
        lineage: the recipe's hash and what every label says of its experts.
        image_root: folder that image paths are relative to; None means the manifest's.
        fetch: how images behind URLs are fetched; None fetches none.
        remote: URL of the data set in an object store where every part goes too; "" for none.
        elsewhere: parts that others have committed there already.
        guard: when a stage that rejects nearly everything stops the run; None where the data is known to be so.
        plan: the whole manifest; None in the processes of Ray.
        pairs: of the manifest.
        known: how many of them are labeled already, or not asked for, when the run begins.
        outcomes: what is known of all labeled pairs then.
        answers: where the answers of experts are kept; None for nowhere.
        anew: stages whose experts are asked again, whatever is kept.
        compact: the files of its parts are joined where there are many.
        lanes: batches of a part under way at once; 0 leaves it to the recipe (`lanes_of`).
    """

    data: Path
    parts: tuple[ManifestPart, ...]
    recipe: Recipe
    lineage: Lineage
    image_root: Path | None = None
    fetch: FetchConfig | None = None
    remote: str = ""
    elsewhere: frozenset[str] = frozenset()
    guard: GuardConfig | None = DEFAULT_GUARD
    plan: ManifestPlan | None = field(default=None, repr=False, compare=False)
    pairs: int = 0
    known: int = 0
    outcomes: KnownPairs = field(default_factory=KnownPairs, repr=False, compare=False)
    answers: AnswersConfig | None = None
    anew: frozenset[str] = frozenset()
    compact: bool = True
    lanes: int = 0

    @property
    def recipe_hash(self) -> str:
        """The name that the labels lie under."""
        return self.lineage.recipe

    def open_parts(self) -> list[ManifestPart]:
        """Parts that are not committed yet."""
        here = committed_parts(self.data, self.recipe_hash)
        return [part for part in self.parts if part.name not in self.elsewhere and part.committed_name not in here]

    def has(self, part: ManifestPart) -> bool:
        """Whether a part is committed, here or in the object store."""
        return part.name in self.elsewhere or is_committed(self.data, self.recipe_hash, part.committed_name)


UNCALIBRATED = (
    "recipe {recipe!r} has no calibration: quality says how far its experts agree, and is no probability, so what is "
    "accepted may be wrong more often than it says. Give true masks of 200 pairs ('targets' in the manifest, or "
    "'ivm review'), then: ivm calibrate --data DIR --out calibration.json, and label with "
    "--set calibration=calibration.json"
)


def prepare(
    manifest: Path,
    data: Path,
    recipe: Recipe,
    part_size: int,
    image_root: Path | None = None,
    *,
    fetch: FetchConfig | None = None,
    remote: str = "",
    guard: GuardConfig | None = DEFAULT_GUARD,
    again: Sequence[str] = (),
    answers: AnswersConfig | None = None,
    compact: bool = True,
    lanes: int = 0,
) -> LabelingRun:
    """Plan the parts, load the experts and write down the recipe: whatever is wrong with either shows up here.

    Experts are loaded if there is a part to label; one whose answers are kept, once it is asked what is not known. With
    an object store, what earlier runs left here is sent there first.

    Args:
        again: reason codes, and stages as "STAGE:NAME"; then only pairs are labeled, again, that ended so.
        answers: where the answers of experts are kept; None for nowhere.
        compact: join the files of the parts where there are many.
        lanes: batches of a part under way at once; 0 leaves it to the recipe.

    Raises:
        ConfigError, WeightsError: before any work starts.
        TransientError: the object store does not answer.
    """
    if image_root is not None and not image_root.is_dir():
        raise ConfigError(
            f"image root '{image_root}' is not a folder; give the folder that image paths are relative to"
        )
    plan = plan_records(manifest, part_size, image_root, whole_episodes=recipe.track.tracker is not None)
    data.mkdir(parents=True, exist_ok=True)
    if remote:
        push(data, remote)
    lineage = lineage_of(recipe, name_of)
    run = LabelingRun(
        data, (), recipe, lineage, image_root, fetch, remote, guard=guard, plan=plan, answers=answers, compact=compact,
        lanes=lanes,
    )  # fmt: skip
    chosen = with_parts(run, again)
    if chosen.open_parts():
        require_weights(recipe)
        if not recipe.calibration:
            warnings.warn(UNCALIBRATED.format(recipe=recipe.name), IvmWarning, stacklevel=2)
        lineage = Pipeline(recipe, answers).lineage
        if lineage != run.lineage:  # A checkpoint was downloaded, and is named by its commit now.
            chosen = with_parts(replace(run, lineage=lineage), again)
    experts = {"experts": [{"role": role, "name": name} for role, name in chosen.lineage.experts]}
    write_recipe(data, chosen.recipe_hash, recipe.to_dict() | experts)
    return chosen


def with_parts(run: LabelingRun, again: Sequence[str]) -> LabelingRun:
    """The run with the parts that its manifest still has for it."""
    plan = run.plan
    assert plan is not None
    if run.remote:
        run = replace(run, elsewhere=frozenset(committed(run.remote, run.recipe_hash)))
    has = committed_parts(run.data, run.recipe_hash).union(run.elsewhere).__contains__
    with DataSet.open(run.data) as data:
        if again:
            chosen, there = (
                choose_again(plan, data, run.recipe_hash, again),
                known(data, run.recipe_hash, plan.record_N),
            )
        elif all(has(part.name) for part in plan.parts) and not any("@" in part for _, part in data.light_of):
            chosen, there = Chosen(tuple(plan.parts), plan.pairs, plan.pairs), Known()
        else:
            there = known(data, run.recipe_hash, plan.record_N)
            chosen = choose(plan, there.records, has)
        _check_pulled(run, chosen, {part for _, part in data.light_of}, again)
    return replace(
        run, parts=chosen.parts, pairs=chosen.pairs, known=chosen.known, outcomes=there.pairs, anew=chosen.anew
    )


def _check_pulled(run: LabelingRun, chosen: Chosen, here: Collection[str], again: Sequence[str]) -> None:
    """What is known of an edited manifest is known of the local folder: refuse to label anew what the store has.

    Raises:
        ConfigError: the folder lacks parts of the store that took in records which would be labeled now.
    """
    assert run.plan is not None
    missing = run.elsewhere - set(here)
    if not again:
        asked = [part.records_of(run.plan) for part in replace(run, parts=chosen.parts).open_parts()]
        missing -= {part.name for part in run.plan.parts}
    else:
        asked = [run.plan.record_N]
    wanted = {record.ljust(16, b"\x00") for records in asked for record in records.tolist()}
    if missing and wanted and (found := len(wanted & taken_in(run.remote, run.recipe_hash, missing))):
        raise ConfigError(
            f"{found} records of this manifest are labeled in parts of '{run.remote}' that '{run.data}' does not "
            f"have, and would be labeled once more; fetch them first with 'ivm pull {run.remote} --out {run.data}'"
        )


def absolute(run: LabelingRun) -> LabelingRun:
    """The run for other processes: with absolute paths, as they may work in another folder, and without its plan."""
    parts = tuple(replace(part, manifest=str(Path(part.manifest).resolve())) for part in run.parts)
    root = None if run.image_root is None else run.image_root.resolve()
    return replace(run, data=run.data.resolve(), parts=parts, image_root=root, plan=None)
