"""The stages in a row over one part: samples in, one label or rejection for each, in input order."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ivm_data.engine.recordings import TRACK
from ivm_data.engine.tracking import Tracks
from ivm_data.experts.common.prefetch import ahead
from ivm_data.experts.common.protocols import Tracker
from ivm_data.experts.common.usage import Usage, metered
from ivm_data.experts.registry import ExpertSpec, embedded, kept, tracker
from ivm_data.quality.calibration import Calibration, Uncalibrated
from ivm_data.recipes.labeling_recipes import Recipe, recipe_hash
from ivm_data.stages.fuse import FuseStage
from ivm_data.stages.gate import TRACKER, GateStage
from ivm_data.stages.ground import GroundStage
from ivm_data.stages.resolve import ResolveStage
from ivm_data.stages.rewrite import RewriteStage
from ivm_data.stages.segment import SegmentStage
from ivm_data.stages.stage import Draft, Outcome, Stage, rejection
from ivm_data.stages.verify import VerifyStage
from ivm_model.model.placement import device_of
from storage.errors import InputError, IvmError
from storage.pixels.images import bounded, decode
from storage.records import Label, Lineage, PartResult, Rejection, Sample, Timing

if TYPE_CHECKING:
    from ivm_data.experts.answers.store import AnswersConfig

_LOG = logging.getLogger(__name__)
ENDPOINT_LANES, GPU_LANES = 3, 2
"""Batches under way at once, where an expert is behind an endpoint, or on a GPU."""

Item = TypeVar("Item")

Experts = Callable[[ExpertSpec], Any]
"""Gives the expert that a recipe names."""

STAGES: dict[str, Callable[[Recipe, Experts], Stage]] = {
    "rewrite": lambda recipe, get: RewriteStage(get(recipe.rewriter), recipe.rewrite),
    "ground": lambda recipe, get: GroundStage([get(spec) for spec in recipe.grounders], recipe.ground),
    "resolve": lambda recipe, get: ResolveStage(get(recipe.verifier), recipe.resolve, len(recipe.grounders)),
    "segment": lambda recipe, get: SegmentStage(get(recipe.segmenter), [get(spec) for spec in recipe.proposers]),
    "fuse": lambda recipe, _: FuseStage(calibration(recipe), recipe.fuse),
    "verify": lambda recipe, get: VerifyStage(get(recipe.verifier), recipe.verify),
}
"""How each stage is made, in the order in which a batch passes them; making one loads its own experts only."""


def make_stage(name: str, recipe: Recipe, answers: AnswersConfig | None, anew: Collection[str] = ()) -> Stage:
    """A stage of a recipe.

    Args:
        answers: where the answers of its experts are kept; None for nowhere.
        anew: stages whose experts are asked again, whatever is kept.
    """
    return STAGES[name](recipe, lambda spec: kept(spec, answers, anew=name in anew))


class Pipeline:
    """A recipe with its experts: every sample given to `run` comes back exactly once.

    Attributes:
        recipe: the configuration it was made from.
        lineage: the recipe's hash and each expert's `model@revision`, as written into every label.
    """

    def __init__(
        self, recipe: Recipe, answers: AnswersConfig | None = None, anew: Collection[str] = (), lanes: int = 0
    ) -> None:
        """Args: answers, anew: see `make_stage`; lanes: batches under way at once, 0 for `lanes_of`."""
        self.recipe, self.lanes = recipe, lanes or lanes_of(recipe)
        self.stages: tuple[Stage, ...] = tuple(make_stage(name, recipe, answers, anew) for name in STAGES)
        self.lineage = lineage_of(recipe, lambda spec: kept(spec, answers).name)
        self.gate = make_gate(recipe, self.lineage)
        self._every = 1 if anew else recipe.track.every
        self._tracker = tracker(recipe.track.tracker) if recipe.track.tracker else None
        self._refiner = kept(recipe.segmenter, answers) if recipe.track.refine is not None else None

    def run(self, part: str, items: Sequence[Sample | Rejection]) -> PartResult:
        """Label a part, while a thread decodes its next batch. Ingestion's rejections pass through.

        With a tracker, key frames of episodes pass the stages first, and in further rounds the frames that become key
        frames; what lies between has its mask carried to it, and all of an episode then passes the gate.
        """
        ledger = Ledger()
        samples = [item for item in items if isinstance(item, Sample)]
        if self._tracker is None:
            self._label(ledger, samples, lambda drafts: ledger.keep(self.gate.run(drafts)))
        else:
            self._track(ledger, samples, self._tracker)
        return ledger.result(part, self.lineage.recipe, items)

    def _track(self, ledger: Ledger, samples: Sequence[Sample], tracker: Tracker) -> None:
        tracks = Tracks(samples, replace(self.recipe.track, every=self._every), tracker, self._refiner)
        asked = tracks.first()
        while asked:
            self._label(ledger, asked, tracks.keep)
            with ledger.clock(TRACK, len(samples) - len(asked)):
                asked = tracks.further()
        for drafts, lost in ledger.clocked(TRACK, tracks.ended()):
            ledger.keep(lost)
            ledger.keep(self.gate.run(drafts))

    def _label(self, ledger: Ledger, samples: Sequence[Sample], end: Callable[[list[Draft]], None]) -> None:
        """Bring samples through the stages.

        As many batches as there are lanes are under way, each in another stage: one is grounded while the LMM verifies
        the one before. A stage has one batch at a time, so that a device holds the activations of one.
        """
        turns = {stage.name: Lock() for stage in self.stages}

        def label(outcome: Outcome) -> None:
            ledger.keep(outcome.rejected)
            batch = outcome.kept
            for stage in self.stages:
                with turns[stage.name]:
                    batch = ledger.run(stage, batch)
            end(batch)

        with closing(ahead(decoded, batches(samples, self.recipe.batch_size), depth=1)) as ready:
            if self.lanes == 1:
                for outcome in ready:
                    label(outcome)
            else:
                with closing(ahead(label, ready, self.lanes - 1, self.lanes)) as ended:
                    deque(ended, maxlen=0)


def lineage_of(recipe: Recipe, name: Callable[[ExpertSpec], str]) -> Lineage:
    """What every label of a recipe says of its experts.

    Args:
        name: an expert's `model@revision`. That of a hub checkpoint is another before it has been downloaded.
    """
    experts = [(role, name(spec)) for role, spec in roles_of(recipe)]
    if recipe.calibration:
        calibration(recipe)  # before its file is hashed: whatever is wrong with it shows up in its own words
        experts.append(("calibration", calibration_name(recipe)))
    return Lineage(recipe_hash(recipe, experts), tuple(experts))


def lanes_of(recipe: Recipe) -> int:
    """Batches that are worth having under way at once: more where a stage waits for an endpoint or a GPU.

    One where all experts compute on the CPU, whose cores are busy with it.
    """
    specs = [one for _, spec in roles_of(recipe) for one in spec.all()]
    if any(spec.expert == "openai" for spec in specs):
        return ENDPOINT_LANES
    on_gpu = any(device_of(str(spec.options.get("device", "cpu"))).startswith("cuda") for spec in specs)
    return GPU_LANES if on_gpu else 1


def roles_of(recipe: Recipe) -> list[tuple[str, ExpertSpec]]:
    """Every expert of a recipe by what it does, in the order in which a label meets them."""
    roles = [("rewriter", recipe.rewriter), *(("grounder", spec) for spec in recipe.grounders)]
    roles += [("segmenter", recipe.segmenter), ("verifier", recipe.verifier)]
    roles += [("proposer", spec) for spec in recipe.proposers]
    return [*roles, *([(TRACKER, recipe.track.tracker)] if recipe.track.tracker else [])]


class Ledger:
    """What has become of a part's samples so far, how long each stage took, and what it asked of LMM endpoints."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Label | Rejection] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._rows: dict[str, int] = defaultdict(int)
        self._used: dict[str, Usage] = defaultdict(Usage)

    def run(self, stage: Stage, batch: Sequence[Draft]) -> list[Draft]:
        """Run a stage over one batch: its rejections are kept here, the other drafts come back."""
        began = time.perf_counter()
        with metered() as meter:
            outcome = run_isolated(stage, batch)
        self._used[stage.name] += meter.used
        self._seconds[stage.name] += time.perf_counter() - began
        self._rows[stage.name] += len(batch)
        _raise_if_broken(outcome, len(batch))
        self.keep(outcome.rejected)
        return outcome.kept

    @contextmanager
    def clock(self, name: str, rows: int) -> Iterator[None]:
        """Count what happens meanwhile as the seconds of a stage."""
        began = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - began
        self._rows[name] = rows

    def clocked(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The items; what it takes to make them counts as seconds of a stage that has its rows."""
        while True:
            began = time.perf_counter()
            item = next(items, None)
            self._seconds[name] += time.perf_counter() - began
            if item is None:
                return
            yield item

    def keep(self, ended: Iterable[Label | Rejection]) -> None:
        """Write down what samples ended as."""
        for outcome in ended:
            self._outcomes[outcome.sample.id if isinstance(outcome, Label) else outcome.sample_id] = outcome

    def result(self, part: str, recipe: str, items: Sequence[Sample | Rejection]) -> PartResult:
        """The part's outcomes in input order, once every sample has one."""
        timings = tuple(
            Timing(part, recipe, name, seconds, self._rows[name], **asdict(self._used[name]))
            for name, seconds in self._seconds.items()
        )
        in_order = tuple(self._outcomes[item.id] if isinstance(item, Sample) else item for item in items)
        return PartResult(part, recipe, in_order, timings)


def batches(items: Sequence[Sample | Rejection], size: int) -> list[list[Sample]]:
    """The samples of a part in the batches that pass through the stages together; fewer of them where they are huge."""
    samples = (item for item in items if isinstance(item, Sample))
    return list(bounded(samples, size, lambda sample: sample.width * sample.height))


def make_gate(recipe: Recipe, lineage: Lineage) -> GateStage:
    """What turns the drafts that passed all stages into labels."""
    return GateStage(calibration(recipe), recipe.gate, lineage)


def calibration(recipe: Recipe) -> Calibration | Uncalibrated:
    """What the recipe turns scores into quality with."""
    return Calibration.load(Path(embedded(recipe.calibration))) if recipe.calibration else Uncalibrated()


def run_isolated(stage: Stage, batch: Sequence[Draft]) -> Outcome:
    """Run a stage; where it fails, halve the batch until the sample that breaks it stands alone and is rejected.

    A batch too large for an accelerator's memory does not come here: experts halve it themselves. Errors of the engine
    itself, transient ones among them, are not blamed on a sample: they are raised.
    """
    if not batch:
        return Outcome([], [])
    try:
        return stage.run(batch)
    except IvmError:
        raise
    except Exception as error:
        _LOG.debug("stage %s fails on %d samples", stage.name, len(batch), exc_info=True)
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
            "nothing of this part was committed: fix the expert and run again"
        )


def calibration_name(recipe: Recipe) -> str:
    """What the lineage calls the calibration; "" where there is none."""
    return _content_name(Path(embedded(recipe.calibration))) if recipe.calibration else ""


def _content_name(path: Path) -> str:
    return f"{path.stem}@{hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()}"


def decoded(samples: Sequence[Sample]) -> Outcome:
    """Drafts that share one decoded array for each distinct image; rejections where it cannot be decoded."""
    images: dict[bytes, np.ndarray | InputError] = {}
    kept, rejected = [], []
    for sample in samples:
        if sample.image not in images:
            images[sample.image] = _decoded(sample.image)
        image = images[sample.image]
        if isinstance(image, InputError):
            rejected.append(rejection(sample, "ingest", image.reason, image.detail))
        else:
            kept.append(Draft(sample, image))
    return Outcome(kept, rejected)


def _decoded(data: bytes) -> np.ndarray | InputError:
    try:
        return decode(data)
    except InputError as error:
        return error
