"""What a labeling run will read of what was computed before, and what it will run: known before it starts.

A stage's outcome follows from its experts and settings and from the outcome of the stage before it. So beside a recipe
that has labels of the same pairs, a stage reads its answers where all of that is equal; where only a stage before it
differs it asks about what became different; else its experts run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ivm_data.engine.labeling_run import LabelingRun
from ivm_data.engine.pipeline import STAGES, roles_of
from ivm_data.experts.registry import answers_of
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.shards import committed_parts
from storage.tables import recipes

Use = Literal["reads", "reads what is equal", "runs"]
_EXPERTS: dict[str, tuple[str, ...]] = {
    "rewrite": ("rewriter",),
    "ground": ("grounder",),
    "resolve": ("verifier",),
    "segment": ("segmenter", "proposer"),
    "fuse": ("calibration",),
    "verify": ("verifier",),
}
"""Roles whose experts decide a stage's outcome, whose answers it needs, and whose settings have the stage's name."""
_A_ROW = """
    SELECT
        recipe, stage, sum(seconds) / sum(rows) AS seconds,
        CAST(sum(prompt_tokens + completion_tokens) AS DOUBLE) / sum(rows) AS tokens
    FROM timings WHERE rows > 0 GROUP BY ALL"""


@dataclass(frozen=True)
class Cost:
    """Seconds, and tokens of LMM endpoints."""

    seconds: float = 0.0
    tokens: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.tokens + other.tokens)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.seconds * times, self.tokens * times)


@dataclass(frozen=True)
class StageForecast:
    """What one stage does.

    Attributes:
        why: what differs from the other recipe, or is not kept.
        most: what it costs at most, as the timings of the data set say; of experts that never ran here, what others
            cost in their place.
    """

    stage: str
    use: Use
    why: str
    most: Cost


@dataclass(frozen=True)
class Forecast:
    """What a run does beside another recipe's labels.

    Attributes:
        recipe: hash of the other recipe.
        covered: pairs of the run in parts that it has too: there the same pairs went through its experts together.
        pairs: of the run.
        whole: what the run would cost if nothing could be read.
    """

    recipe: str
    covered: int
    pairs: int
    stages: tuple[StageForecast, ...]
    whole: Cost

    @property
    def most(self) -> Cost:
        """What the run costs at most."""
        return sum((stage.most for stage in self.stages), Cost())

    @property
    def title(self) -> str:
        """Beside what it is."""
        return f"beside recipe {self.recipe}, which has {self.covered} of the {self.pairs} pairs in the same parts"

    @property
    def price(self) -> str:
        """What it comes to."""
        most, whole = self.most, self.whole
        tokens = f" and {most.tokens:,.0f} of {whole.tokens:,.0f} tokens" if whole.tokens else ""
        return f"At most {most.seconds:,.0f} of {whole.seconds:,.0f} s{tokens}, as earlier runs took them."

    def lines(self) -> list[str]:
        """All of it, for a log."""
        stages = (f"{one.stage}: {one.use}{', ' * bool(one.why)}{one.why}" for one in self.stages)
        return [self.title, *stages, self.price]


def forecast(run: LabelingRun) -> Forecast | None:
    """The forecast beside the recipe of the data set that shares most with the run's; None where there is none."""
    pairs = sum(part.records for part in run.open_parts())
    if not pairs:
        return None
    mine = _parts(run.recipe.to_dict() | {"experts": _experts(run)})
    with DataSet.open(run.data) as data:
        configs = {other: recipes.load(run.data, other) for other in data.recipes}
        others = {other: _parts(config) for other, config in configs.items() if "experts" in config}
        others = {other: parts for other, parts in others.items() if other != run.recipe_hash or run.anew}
        if not others:
            return None
        best = max(others, key=lambda other: _shared(mine, others[other]))
        with Catalog(data) as catalog:
            rows = catalog.sql(_A_ROW).to_pylist()
    there = committed_parts(run.data, best)
    covered = sum(part.records for part in run.open_parts() if part.name in there)
    cost = {stage: _dearest(rows, stage, mine, others) * pairs for stage in STAGES}
    differs = [stage for stage in STAGES if mine[stage] != others[best][stage]]
    used = {stage: _use(run, stage, differs) for stage in STAGES}
    stages = (
        StageForecast(stage, use, why, cost[stage] * (1 - covered / pairs if use == "reads" else 1))
        for stage, (use, why) in used.items()
    )
    return Forecast(best, covered, pairs, tuple(stages), sum(cost.values(), Cost()))


def _experts(run: LabelingRun) -> list[dict[str, str]]:
    return [{"role": role, "name": name} for role, name in run.lineage.experts]


def _parts(config: Mapping[str, Any]) -> dict[str, str]:
    """What each stage's outcome depends on beside the stage before it, of a recipe as its file says it."""
    found = {}
    for stage, roles in _EXPERTS.items():
        names = [expert["name"] for expert in config["experts"] if expert["role"] in roles]
        specs = [config.get(name) for role in roles for name in (role, f"{role}s") if role != "calibration"]
        found[stage] = json.dumps([names, specs, config.get(stage), config.get("batch_size")], sort_keys=True)
    return found


def _shared(mine: Mapping[str, str], other: Mapping[str, str]) -> tuple[int, int]:
    """Stages until the first that differs, and all that are equal by themselves."""
    equal = [mine[stage] == other[stage] for stage in STAGES]
    return [*equal, False].index(False), sum(equal)


def _dearest(
    rows: Iterable[Mapping[str, Any]], stage: str, mine: Mapping[str, str], others: Mapping[str, Mapping[str, str]]
) -> Cost:
    """What a row of a stage costs; a run that could read was cheaper than the experts are."""
    costs = {row["recipe"]: Cost(row["seconds"], row["tokens"]) for row in rows if row["stage"] == stage}
    same = [cost for recipe, cost in costs.items() if recipe in others and others[recipe][stage] == mine[stage]]
    return max(same or costs.values(), key=lambda cost: (cost.seconds, cost.tokens), default=Cost())


def _use(run: LabelingRun, name: str, differs: Sequence[str]) -> tuple[Use, str]:
    """What a stage does, and why.

    Args:
        differs: stages whose experts or settings are others than the other recipe's, in order.
    """
    if name in run.anew:
        return "runs", "is asked anew"
    specs = [spec for role, spec in roles_of(run.recipe) if role in _EXPERTS[name]]
    lacking = sum(not answers_of(spec, run.answers) for spec in specs)
    if specs and lacking == len(specs):
        return "runs", "no answers of its experts are kept"
    if lacking:
        return "reads what is equal", f"no answers of {lacking} of its {len(specs)} experts are kept"
    if name in differs:
        return "reads what is equal", "other experts or settings"
    order = list(STAGES)
    before = [stage for stage in differs if order.index(stage) < order.index(name)]
    return ("reads what is equal", f"{before[0]} differs") if before else ("reads", "")
