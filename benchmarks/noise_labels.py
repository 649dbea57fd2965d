"""Machine labels of the procedural world with a known share of wrong masks, committed as shards like any others.

Which labels are wrong is nested: what is wrong at 20 % is wrong in the same way at 40 %. Their scores are not made up:
the embedded LMM verifies each mask as it is, right or wrong, and the quality is calibrated on the human rows.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np

from ivm_data.experts.common.protocols import Verifier
from ivm_data.experts.lmms import prompts
from ivm_data.experts.registry import get
from ivm_data.quality.calibration import Calibration
from ivm_data.quality.fit_calibration import fit_logistic
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.stages.gate import GateStage
from ivm_data.stages.stage import Draft
from ivm_data.stages.verify import VerifyStage
from ivm_data.worlds.grammar import KINDS, WorldPair
from ivm_data.worlds.scene import Scene
from ivm_data.worlds.world import generate, png
from ivm_model.discriminator.negatives import TRIES, WRONG, wrong_mask
from ivm_model.metrics.mask_scores import overlap
from storage.common.validation import Checked, at_least, within
from storage.gates.logistic import Logistic
from storage.parts.shards import commit_part, is_committed
from storage.pixels import rle
from storage.pixels.overlap import RIGHT_IOU, is_right
from storage.records import Label, Lineage, PartResult, Sample, sample_id
from storage.request import Request
from storage.tables.recipes import write_recipe

SPLIT = "test"
FIRST_SCENES = {"human": 20_000, "machine": 40_000, "test": 60_000}
"""Where the scenes of each part begin in the world's test split; other benchmarks use those below."""
TEST_SOURCE = "world-exact"
MIXTURE = {"elsewhere": 0.53, "extra": 0.25, "shifted": 0.16, "cut": 0.07}
"""Ways of being wrong (`ivm_model.discriminator.negatives`), by how often a detector with a segmenter was so."""
MIXTURES = {
    "detector": MIXTURE,
    "engine": {"elsewhere": 0.4, "extra": 0.15, "shifted": 0.1, "cut": 0.05, "absent": 0.3},
    **{way: {way: 1.0} for way in WRONG},
}
"""By name: a detector's; one in which a third says "no target" though there is one, as of the engine's wrong labels
(docs/results.md); and each way alone."""
WITH_TARGET = tuple(kind for kind in KINDS if kind != "absent")
"""Kinds of instruction that need a pixel: an empty mask cannot be shifted or cut."""
QUALITY_FEATURES = ("area_ratio", "p_yes_kept", "p_yes_complement")
ABSENCE_FEATURES = ("presence",)
PAIRS_PER_SCENE, BATCH = 4, 16


@dataclass(frozen=True)
class NoiseConfig(Checked):
    """One noisy data set.

    Attributes:
        noise: share of wrong masks among the machine's labels, those of human rows too.
        human, machine, tests: number of rows of each part.
        mixture: a key of `MIXTURES`. Where it has "absent", a sixth of the instructions has no target.
    """

    noise: Annotated[float, within("(0, 1)")]
    human: Annotated[int, at_least(2)] = 300
    machine: Annotated[int, at_least(2)] = 1200
    tests: Annotated[int, at_least(2)] = 500
    mixture: str = "detector"

    @property
    def ways(self) -> dict[str, float]:
        """Ways of being wrong, with their shares."""
        return MIXTURES[self.mixture]

    @property
    def recipe(self) -> str:
        """12 hex digits over everything that decides the labels, apart from the experts."""
        text = f"{asdict(self)} {SPLIT} {FIRST_SCENES} {self.ways} {QUALITY_FEATURES} {PAIRS_PER_SCENE}"
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Case:
    """A pair with its true mask in `draft.sample`, and a mask that is wrong in one of the ways."""

    draft: Draft
    wrong_HW: np.ndarray
    way: str


def cases(part: str, rows: int, ways: Mapping[str, float] = MIXTURE) -> list[Case]:
    """The first `rows` pairs of a part: the same on every call, whatever the noise."""
    pairs = generate(SPLIT, FIRST_SCENES[part], 2 * rows, KINDS if "absent" in ways else WITH_TARGET, PAIRS_PER_SCENE)
    found = list(islice(_cases(part, pairs, ways), rows))
    assert len(found) == rows, "every second scene yields a pair that can be wrong so"
    return found


def wrong_rows(rows: int, noise: float) -> np.ndarray:
    """Which rows get the wrong mask, bool (rows,): an exact share, and those of a lower share are among them."""
    rank_N = np.random.default_rng(rows).permutation(rows)
    return rank_N < round(noise * rows)


def write_labels(data: Path, config: NoiseConfig) -> None:
    """Commit the parts "human", "machine" and "test"; those that are there already are not made again."""
    if all(is_committed(data, config.recipe, part) for part in FIRST_SCENES):
        return
    demo = recipe("demo")
    verify = VerifyStage(get(demo.verifier), demo.verify)
    lineage = Lineage(config.recipe, (("verifier", verify.verifier.name),))
    write_recipe(data, config.recipe, asdict(config) | {"ways": config.ways, "verifier": verify.verifier.name})
    sizes = {"human": config.human, "machine": config.machine, "test": config.tests}
    drafts = {part: _verified(verify, _drafts(part, rows, config)) for part, rows in sizes.items()}
    gate = GateStage(_calibrated(drafts["human"]), demo.gate, lineage)
    for part, verified in drafts.items():
        labels: tuple[Label, ...] = tuple(gate.run(verified))
        commit_part(data, PartResult(part, config.recipe, labels))


def _cases(part: str, pairs: Iterator[tuple[Scene, WorldPair, int]], ways: Mapping[str, float]) -> Iterator[Case]:
    made: Counter[str] = Counter()
    for scene, pair, number in pairs:
        truth_HW = np.zeros(scene.image_HWC.shape[:2], bool)
        for i in pair.targets:
            truth_HW |= scene.things[i].mask_HW
        others = [thing.mask_HW for i, thing in enumerate(scene.things) if i not in pair.targets]
        behind = sorted(ways, key=lambda way: made[way] / ways[way])
        found = _wrong(behind, truth_HW, others or [truth_HW], np.random.default_rng([scene.index, number]))
        if found:
            made[found[1]] += 1
            yield Case(_draft(part, scene, pair, truth_HW), *found)


def _wrong(
    ways: Sequence[str], truth_HW: np.ndarray, others: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, str] | None:
    """A mask that is wrong in the first of the ways that is wrong enough, and that way."""
    for way in ways:
        for _ in range(TRIES):
            wrong_HW = wrong_mask(way, truth_HW, others, rng)
            if wrong_HW is not None and overlap(wrong_HW, truth_HW).iou < RIGHT_IOU:
                return wrong_HW, way
    return None


def _draft(part: str, scene: Scene, pair: WorldPair, truth_HW: np.ndarray) -> Draft:
    image = png(scene)
    height, width = truth_HW.shape
    sample = Sample(
        id=sample_id(image, pair.instruction),
        image=image,
        image_uri=f"{scene.split}/{scene.index:06d}.png",
        width=width,
        height=height,
        instruction=pair.instruction,
        source=TEST_SOURCE if part == "test" else f"world-{scene.split}",
        kind=pair.kind,
        difficulty=pair.difficulty,
        human_mask=rle.encode(truth_HW),
        held_out=part != "human",
    )
    return Draft(sample, scene.image_HWC, Request.of(pair.phrases, pair.anchor, pair.relation, pair.quantity))


def _drafts(part: str, rows: int, config: NoiseConfig) -> list[Draft]:
    """Drafts with the masks that the machine is said to have made."""
    wrong_N = wrong_rows(rows, 0.0 if part == "test" else config.noise)
    drafts = []
    for case, wrong in zip(cases(part, rows, config.ways), wrong_N, strict=True):
        mask = rle.encode(case.wrong_HW) if wrong else case.draft.sample.human_mask
        area = rle.area(mask) / (mask.height * mask.width)
        drafts.append(replace(case.draft, mask=mask, absent=area == 0).scored(understood=1.0, area_ratio=area))
    return drafts


def _verified(stage: VerifyStage, drafts: Sequence[Draft]) -> list[Draft]:
    """Masks verified; of statements that there is no target, how present the surest phrase seems."""
    batches = [drafts[start : start + BATCH] for start in range(0, len(drafts), BATCH)]
    shown = [draft for batch in batches for draft in stage.run([each for each in batch if not each.absent]).kept]
    return [*shown, *(_present(stage.verifier, draft) for draft in drafts if draft.absent)]


def _present(verifier: Verifier, draft: Draft) -> Draft:
    questions = [prompts.PRESENCE.format(phrase=phrase) for phrase in draft.request.phrases]
    return draft.scored(presence=max(verifier.p_yes([draft.image_HWC] * len(questions), questions)))


def _calibrated(human: Sequence[Draft]) -> Calibration:
    """Scores -> quality, from what the machine's labels of human rows are."""
    mask, absent = (_fitted([draft for draft in human if draft.absent == empty]) for empty in (False, True))
    return Calibration(mask, absent, proposers={}, rows=(len(human), sum(draft.absent for draft in human)))


def _fitted(drafts: Sequence[Draft]) -> Logistic:
    """A regression; without both right and wrong labels, one that says the share of right ones."""
    features = ABSENCE_FEATURES if drafts and drafts[0].absent else QUALITY_FEATURES
    right = [bool(is_right(rle.iou(draft.mask, draft.sample.human_mask))) for draft in drafts]
    if len(set(right)) == 2:
        return fit_logistic(features, [draft.scores for draft in drafts], right)
    share = (sum(right) + 1) / (len(right) + 2)
    return Logistic((), (), (), (), bias=math.log(share / (1 - share)))
