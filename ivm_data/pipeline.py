"""The stages in a row over one part: samples in, one label or rejection for each, in input order."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivm_data.experts.registry import embedded, get
from ivm_data.images import decode
from ivm_data.quality.calibration import Calibration, Uncalibrated
from ivm_data.recipes import Recipe, recipe_hash
from ivm_data.stages.base import Draft, Outcome, Stage
from ivm_data.stages.fuse import FuseStage
from ivm_data.stages.gate import GateStage
from ivm_data.stages.ground import GroundStage
from ivm_data.stages.resolve import ResolveStage
from ivm_data.stages.rewrite import RewriteStage
from ivm_data.stages.segment import SegmentStage
from ivm_data.stages.verify import VerifyStage
from storage.errors import IvmError
from storage.records import Label, Lineage, PartResult, Rejection, Sample, Timing


class Pipeline:
    """A recipe with its experts loaded: every sample given to `run` comes back exactly once.

    Attributes:
        recipe: the configuration it was made from.
        lineage: the recipe's hash and each expert's `model@revision`, as written into every label.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        rewriter, grounder, segmenter, verifier = map(
            get, (recipe.rewriter, recipe.grounder, recipe.segmenter, recipe.verifier)
        )
        proposers = [get(spec) for spec in recipe.proposers]
        experts = [("rewriter", rewriter.name), ("grounder", grounder.name), ("segmenter", segmenter.name)]
        experts += [("verifier", verifier.name), *(("proposer", p.name) for p in proposers)]
        calibration: Calibration | Uncalibrated = Uncalibrated()
        if recipe.calibration:
            path = Path(embedded(recipe.calibration))
            calibration = Calibration.load(path)
            experts.append(("calibration", _content_name(path)))
        self.lineage = Lineage(recipe_hash(recipe, experts), tuple(experts))
        self.stages: tuple[Stage, ...] = (
            RewriteStage(rewriter),
            GroundStage(grounder),
            ResolveStage(verifier, recipe.resolve),
            SegmentStage(grounder.name, segmenter, proposers),
            FuseStage(calibration, recipe.fuse),
            VerifyStage(verifier, recipe.verify),
        )
        self.gate = GateStage(calibration, recipe.gate, self.lineage)

    def run(self, part: str, items: Sequence[Sample | Rejection]) -> PartResult:
        """Label a part, a batch at a time. Rejections that ingestion made pass through."""
        seconds: dict[str, float] = defaultdict(float)
        rows: dict[str, int] = defaultdict(int)
        outcomes: dict[str, Label | Rejection] = {}
        samples = [item for item in items if isinstance(item, Sample)]
        size = self.recipe.batch_size
        for start in range(0, len(samples), size):
            batch = _drafts(samples[start : start + size])
            for stage in self.stages:
                began, rows[stage.name] = time.perf_counter(), rows[stage.name] + len(batch)
                outcome = run_isolated(stage, batch)
                seconds[stage.name] += time.perf_counter() - began
                _raise_if_broken(outcome, len(batch))
                outcomes.update((rejection.sample_id, rejection) for rejection in outcome.rejected)
                batch = outcome.kept
            outcomes.update((label.sample.id, label) for label in self.gate.run(batch))
        timings = tuple(Timing(part, self.lineage.recipe, name, seconds[name], rows[name]) for name in seconds)
        in_order = tuple(outcomes[item.id] if isinstance(item, Sample) else item for item in items)
        return PartResult(part, self.lineage.recipe, in_order, timings)


def run_isolated(stage: Stage, batch: Sequence[Draft]) -> Outcome:
    """Run a stage; where it fails, halve the batch until the sample that breaks it stands alone and is rejected.

    Halving also answers an accelerator that runs out of memory. Errors of the engine itself, transient ones among
    them, are not blamed on a sample: they are raised.
    """
    if not batch:
        return Outcome([], [])
    try:
        return stage.run(batch)
    except IvmError:
        raise
    except Exception as error:
        if len(batch) == 1:
            detail = f"{type(error).__name__}: {error}"[:500]
            return Outcome([], [batch[0].reject(stage.name, "expert_failed", detail)])
    middle = len(batch) // 2
    first, second = run_isolated(stage, batch[:middle]), run_isolated(stage, batch[middle:])
    return Outcome(first.kept + second.kept, first.rejected + second.rejected)


def _raise_if_broken(outcome: Outcome, size: int) -> None:
    """A stage that fails on every one of several samples is itself broken: stop before it rejects a whole data set."""
    failed = [rejection for rejection in outcome.rejected if rejection.reason == "expert_failed"]
    if len(failed) == size > 1:
        raise IvmError(
            f"stage {failed[0].stage!r} fails on every sample, first with: {failed[0].detail}; "
            "nothing of this part was committed: mend the expert and run again"
        )


def _content_name(path: Path) -> str:
    return f"{path.stem}@{hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()}"


def _drafts(samples: Sequence[Sample]) -> list[Draft]:
    """Drafts that share one decoded array for each distinct image."""
    images: dict[bytes, np.ndarray] = {}
    for sample in samples:
        if sample.image not in images:
            images[sample.image] = decode(sample.image)
    return [Draft(sample, images[sample.image]) for sample in samples]
