"""The engine on the world in motion: every frame labeled by itself against key frames whose masks are carried.

    python -m benchmarks.episode_labels --episodes 20

Of both: J&F (DAVIS) against the true masks, where a frame without a label counts as an empty mask; how many images
passed through an expert (grounder, segmenter, LMM), a frame; how many frames are accepted (or as such in which the
thing is absent) and how many of those are right (IoU of at least 0.5 with the truth); and how many of the frames in
which the thing is hidden, or has left, are said to be so. Key frames are carried from as they are; as it is set, with
absences that the key frames beside them contradict carried over; and with carried masks refined, too. Then what the
consistency adds to the quality: the AUC on these episodes of regressions fitted on episodes of the split `val`, with
and without it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from ivm_data.engine.pipeline import Pipeline
from ivm_data.evaluation.video_measures import score_video
from ivm_data.experts.grounders.grounding_dino import GroundingDino
from ivm_data.experts.lmms.hf_lmm import HfLmm
from ivm_data.experts.segmenters.sam import Sam
from ivm_data.quality.fit_calibration import fit_logistic
from ivm_data.recipes.labeling_recipes import Recipe, recipe, with_tracker
from ivm_data.worlds.motion import draw_episode
from ivm_data.worlds.motion_set import task
from ivm_data.worlds.split import Split
from storage.gates.gate import MASK_FEATURES
from storage.pixels import rle
from storage.records import Label, Moment, PartResult, Sample, Status, sample_id

Learned = Sequence[tuple[list[Sample], PartResult]]
DONE = (Status.ACCEPTED, Status.NO_TARGET)


def samples(split: Split, index: int, frames: int) -> list[Sample]:
    """The frames of an episode, with their true masks."""
    episode = draw_episode(split, index, frames)
    thing, _, instruction = task(episode, split, index)
    found = []
    for frame, (image_HWC, mask_HW) in enumerate(zip(episode.images, episode.masks[thing], strict=True)):
        image = cv2.imencode(".png", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))[1].tobytes()
        height, width = mask_HW.shape
        moment = Moment(f"{split}/{index}", "top", frame)
        found.append(
            Sample(
                sample_id(image, instruction), image, f"{frame}.png", width, height, instruction, "motion",
                human_mask=rle.encode(mask_HW), held_out=True, moment=moment,
            )
        )  # fmt: skip
    return found


LOOKS: dict[tuple[type, str], str] = {
    (GroundingDino, "ground"): "grounder",
    (Sam, "encode"): "segmenter",
    (HfLmm, "p_yes"): "lmm",
    (HfLmm, "reply"): "lmm",
    (HfLmm, "choose"): "lmm",
}
"""The embedded experts' verbs that take images first, and whose looks they are."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the images that pass through each expert meanwhile; several questions about one image are one look."""
    looks: Counter[str] = Counter()
    with ExitStack() as stack:
        for (owner, verb), name in LOOKS.items():
            stack.enter_context(_counting(owner, verb, name, looks))
        yield looks


@contextmanager
def _counting(owner: type, verb: str, name: str, looks: Counter[str]) -> Iterator[None]:
    asked = getattr(owner, verb)

    def counting(expert: Any, images: Sequence[np.ndarray] | None, *args: Any, **options: Any) -> Any:
        looks[name] += len({id(image_HWC) for image_HWC in images or ()})
        return asked(expert, images, *args, **options)

    setattr(owner, verb, counting)
    try:
        yield
    finally:
        setattr(owner, verb, asked)


def labeled(chosen: Recipe, episodes: Iterable[list[Sample]]) -> list[tuple[list[Sample], PartResult]]:
    """Each episode labeled as a part of its own."""
    pipeline = Pipeline(chosen)

    return [
        (one, pipeline.run(str(number), list({s.id: s for s in one}.values()))) for number, one in enumerate(episodes)
    ]


def j_and_f(episode: Sequence[Sample], result: PartResult) -> float:
    """J&F of an episode's masks."""
    masks = {one.sample.id: one.mask for one in result.outcomes if isinstance(one, Label)}
    truths = [rle.decode(sample.human_mask) for sample in episode if sample.human_mask]
    found = (masks.get(sample.id) for sample in episode)
    made = [
        np.zeros_like(truth) if mask is None else rle.decode(mask) for mask, truth in zip(found, truths, strict=True)
    ]
    scores = score_video(made, truths)
    return (scores.j + scores.f) / 2


def labels(results: Iterable[tuple[list[Sample], PartResult]]) -> list[Label]:
    return [one for _, result in results for one in result.outcomes if isinstance(one, Label)]


def row(name: str, results: Sequence[tuple[list[Sample], PartResult]], looks: Counter[str]) -> str:
    """A line of the table."""
    frames, found = sum(len(result.outcomes) for _, result in results), labels(results)
    done = [one for one in found if one.status in DONE]
    right = np.mean([one.human_iou >= 0.5 for one in done])
    figure = np.mean([j_and_f(*one) for one in results])
    hidden = [one for one in found if one.sample.human_mask and not rle.area(one.sample.human_mask)]
    absent = sum(not rle.area(one.mask) for one in hidden)
    each = ", ".join(f"{looks[expert] / frames:.2f}" for expert in ("grounder", "segmenter", "lmm"))
    return (
        f"| {name} | {figure:.3f} | {looks.total() / frames:.2f} ({each}) | {len(done) / frames:.3f} | {right:.3f} "
        f"| {absent} of {len(hidden)} |"
    )


def auc(name: str, learned: Sequence[Label], judged: Sequence[Label]) -> str:
    """A line of the table of AUCs."""
    cells = []
    for features in (tuple(one for one in MASK_FEATURES if one != "consistency"), MASK_FEATURES):
        fitted = fit_logistic(features, [one.scores for one in learned], [one.human_iou >= 0.5 for one in learned])
        said = [fitted.probability(one.scores) for one in judged]
        cells.append(roc_auc_score([one.human_iou >= 0.5 for one in judged], said))
    return f"| {name} | {len(judged)} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def aucs(every: int, learned: Learned, judged: Learned) -> list[str]:
    """The lines of the table of AUCs."""
    taught = [one for one in labels(learned) if one.human_iou == one.human_iou and rle.area(one.mask)]
    masks = [one for one in labels(judged) if rle.area(one.mask)]
    carried = [one for one in masks if one.tracked_from]
    return [auc(f"masks, key frames every {every}th", taught, masks), auc("of these carried", taught, carried)]


WAYS: dict[str, dict[str, Any]] = {
    "absence=1": {"absence": 1.0},
    "as it is set": {},
    "refine=0.5": {"refine": 0.5},
}
"""How masks are carried, as changes of `TrackConfig`."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--frames", type=int, default=41)
    parser.add_argument("--every", type=int, nargs="+", default=[10])
    given = parser.parse_args()
    test = [samples("test", index, given.frames) for index in range(given.episodes)]
    val = [samples("val", index, given.frames) for index in range(given.episodes)]
    plain = recipe("demo")
    print(
        "| labeled | J&F | looks of experts a frame (grounder, segmenter, LMM) | accepted | of these right | hidden |"
    )
    print("|---|---|---|---|---|---|")
    with counted() as looks:
        results = labeled(plain, test)
    print(row("every frame by itself", results, looks), flush=True)
    lines = []
    for every in given.every:
        for name, changes in WAYS.items():
            tracking = with_tracker(plain, "flow")
            tracking = replace(tracking, track=replace(tracking.track, every=every, **changes))
            with counted() as looks:
                results = labeled(tracking, test)
            print(row(f"every {every}th, {name}", results, looks), flush=True)
            if not changes:
                lines += aucs(every, labeled(tracking, val), results)
    print("\n| of | labels | AUC without consistency | with it |\n|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
