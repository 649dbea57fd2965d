"""docs/policy.md, from what benchmarks.policy has written down."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import policy_pictures
from benchmarks.policy_found import Found, gain, mask_facts
from benchmarks.policy_network import BATCH, CELLS, SIDE
from benchmarks.policy_scenes import (
    ADDED,
    CROWDS,
    FIRST_DEMONSTRATION,
    FIRST_TEST,
    KNOWN,
    THINGS,
    UNSEEN,
    Crowd,
    Task,
)
from benchmarks.policy_success import TOLERANCE
from benchmarks.policy_views import ARMS, BASELINE, CONTROL, trainings
from ivm_model.metrics.bootstrap import RESAMPLES
from storage.common.markdown import markdown_table

SAYS: dict[Task, str] = {
    "pick": "One point: the thing that an instruction names (*Pick up the striped circle.*).",
    "put": "Two points: the thing that is named first, then the second (*Put the circle on the red square.*).",
}
TITLES: dict[Crowd, str] = {
    "same": "scenes like the demonstrations'",
    "more": f"{ADDED} more things of known shapes",
    "unseen": f"{ADDED} more things of unseen shapes",
}
BY_MASKS = ("truth", "model", "engine")


def write(page: Path, found: Mapping[Task, Found], options: argparse.Namespace) -> None:
    """Write the page, and its pictures into `images` beside it."""
    images = page.parent / "images"
    policy_pictures.draw_views(images / policy_pictures.VIEWS, {task: each.tested for task, each in found.items()})
    policy_pictures.draw_curves(images / policy_pictures.CURVES, found, options.demonstrations)
    sections = [*_head(found, options)]
    for task, each in found.items():
        sections += [f"## {task.capitalize()}", SAYS[task]]
        for crowd in CROWDS:
            sections += [f"### {task.capitalize()}: {TITLES[crowd]}", _table(each, crowd, options.demonstrations)]
    sections += _masks(found, max(options.demonstrations))
    page.write_text("\n\n".join(sections) + "\n")


def _table(found: Found, crowd: Crowd, counts: list[int]) -> str:
    """An arm a line, a number of demonstrations a column."""
    rows = [(arm, *(_cell(found, arm, count, crowd) for count in counts)) for arm in ARMS]
    return markdown_table(("arm", *map(str, counts)), rows)


def _cell(found: Found, arm: str, count: int, crowd: Crowd) -> str:
    """Success, and for another arm than the baseline the difference with its interval."""
    right_ST = found.right(arm, count, crowd)
    if not right_ST.size:
        return "-"
    if arm == BASELINE:
        return f"{right_ST.mean():.3f}"
    return f"{right_ST.mean():.3f} ({_difference(*gain(right_ST, found.right(BASELINE, count, crowd)))})"


def _difference(value: float, low: float, high: float) -> str:
    """Bold where the interval leaves out 0."""
    text = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _masks(found: Mapping[Task, Found], most: int) -> list[str]:
    rows, added = [], []
    for (task, each), crowd in product(found.items(), CROWDS):
        facts = {source: mask_facts(source, each.tested[crowd]) for source in ("model", "engine")}
        shares = [share for one in facts.values() for share in (one.right, one.empty)]
        alone = {source: each.alone(source, crowd) for source in BY_MASKS}
        shares += [float(success_T.mean()) for success_T in alone.values()]
        rows.append((task, crowd, *(f"{share:.3f}" for share in shares)))
        for source, alone_T in alone.items():
            behind_ST = each.right(source, most, crowd)
            difference = _difference(*gain(behind_ST, np.broadcast_to(alone_T, behind_ST.shape)))
            added.append((task, crowd, source, difference))
    heads = ("model right", "model none", "engine right", "engine none", *(f"{source} alone" for source in BY_MASKS))
    return [
        "## The masks",
        "Of the test scenes: the share whose mask has an IoU of at least 0.5 with the truth, the share without any "
        "mask, which the policy sees whole, and the success of masks alone.",
        markdown_table(("task", "scenes", *heads), rows),
        f"What the policy adds to the masks that it sees, at {most} demonstrations (difference to the masks alone):",
        markdown_table(("task", "scenes", "masks", "policy minus masks alone"), added),
    ]


def _head(found: Mapping[Task, Found], options: argparse.Namespace) -> list[str]:
    counts = " ".join(map(str, options.demonstrations))
    seconds = [second for each in found.values() for second in each.seconds]
    against = sum(arm != BASELINE for arm, _ in trainings(options.demonstrations)) + len(BY_MASKS)
    compared = len(found) * len(CROWDS) * against
    return [
        "# What masks are worth to a policy",
        "Does a robot policy follow instructions better when images are masked? In small: behaviour cloning in the "
        "procedural world, among distractors that no demonstration showed, as IVM "
        "([arXiv 2405.19783](https://arxiv.org/abs/2405.19783)) asks it of a real robot.",
        f"Written by `python -m benchmarks.policy --demonstrations {counts} --tests {options.tests} --seeds "
        f"{options.seeds} --steps {options.steps}` on {os.cpu_count()} CPU cores: {len(seconds)} trainings "
        f"of {np.mean(seconds):.0f} s, {sum(seconds) / 60:.0f} CPU minutes, without the masks.",
        f"![success against the number of demonstrations](images/{policy_pictures.CURVES})",
        "\n".join(_in_words(task, each, options.demonstrations) for task, each in found.items()),
        *_needed(found, options.demonstrations),
        "## Protocol",
        _protocol(options, compared),
        f"![a test scene of each task, among each crowd, as each arm shows it](images/{policy_pictures.VIEWS})",
    ]


def _in_words(task: Task, found: Found, counts: list[int]) -> str:
    """What the policy reaches among things that no demonstration showed."""
    least, most, crowd = min(counts), max(counts), CROWDS[-1]
    few = {arm: f"{found.right(arm, least, crowd).mean():.2f}" for arm in ("raw", "model", "engine", "truth", CONTROL)}
    many = {arm: f"{found.right(arm, most, crowd).mean():.2f}" for arm in ARMS}
    return (
        f"- **{task.capitalize()}, among unseen things.** With {least} demonstrations the policy succeeds in "
        f"{few['raw']} of the scenes on whole images, {few['model']} behind the model's masks, {few['engine']} behind "
        f"the engine's, {few['truth']} behind true ones, and {few[CONTROL]} behind the masks for other words. With "
        f"{most}, in this order: "
        f"{many['raw']} ({many['raw, longer']} trained longer), {many['model']}, {many['engine']}, {many['truth']}, "
        f"{many[CONTROL]}. The model's masks alone point right in {found.alone('model', crowd).mean():.2f}."
    )


def _needed(found: Mapping[Task, Found], counts: list[int]) -> list[str]:
    others = [name for name, arm in ARMS.items() if arm.longer == 1 and name != BASELINE]
    rows = []
    for (task, each), crowd in product(found.items(), CROWDS):
        best = max(each.right(arm, max(counts), crowd).mean() for arm, seen in ARMS.items() if not seen.source)
        reach = [[n for n in counts if each.right(arm, n, crowd).mean() >= best] for arm in others]
        rows.append((task, crowd, f"{best:.3f}", *(str(min(enough)) if enough else "-" for enough in reach)))
    return [
        f"With how many of {', '.join(map(str, counts))} demonstrations does an arm reach what the whole image reaches "
        f"with {max(counts)}, trained as long or longer?",
        markdown_table(("task", "scenes", f"whole image, {max(counts)}", *others), rows),
    ]


def _protocol(options: argparse.Namespace, compared: int) -> str:
    arms = "\n".join(f"  - `{name}`: {arm.says}" for name, arm in ARMS.items())
    return (
        f"- **Scenes.** {THINGS[0]} to {THINGS[1]} things of the shapes {', '.join(KNOWN)}, drawn for this page (scenes"
        f" {FIRST_DEMONSTRATION:,} and on for demonstrations, {FIRST_TEST:,} and on for tests, of streams of their "
        "own), so that no expert and no masking model saw them. "
        f"{options.tests} test scenes a task.\n"
        f"- **Distractors.** Every test scene is shown three times: as it is (*same*); with {ADDED} more things of the "
        f"same shapes (*more*); with {ADDED} of the shapes {', '.join(UNSEEN)} (*unseen*), which no demonstration "
        "shows. What is added covers nothing and fits no phrase of the instruction: target, words and action stay.\n"
        "- **What knows more.** The masking model and the engine know all six shapes and the world's words from their "
        "own training; the policy starts from nothing. As in the paper, something that saw much data helps a policy of "
        "few demonstrations. Nothing here says that masks beat a policy which saw as much itself.\n"
        "- **Demonstration.** The centre of the target's visible pixels. **Success**: every point on its target, or"
        f" at most {TOLERANCE} of 128 pixels beside it.\n"
        f"- **Policy.** {SIDE} x {SIDE} pixels, convolutions modulated by a GRU's reading of the words (FiLM), a map"
        f" of {CELLS} x {CELLS} cells for each point; cross-entropy to the demonstrated point, {options.steps} steps "
        f"of {BATCH}, random shifts. First weights, demonstrations, batches and shifts are the same in every arm. "
        "The loss and the steps were chosen by the success on whole images of these test scenes, with one seed, which "
        "favours whole images.\n"
        f"- **Seeds.** {options.seeds}; a seed draws its demonstrations, and fewer are a part of more.\n"
        f"- **Intervals.** In parentheses the difference to `{BASELINE}` with a 95 % bootstrap interval ({RESAMPLES:,} "
        "resamples of both seeds and test scenes, paired); bold where it leaves out 0. "
        f"{compared} comparisons, none corrected."
        f"{' With one seed they say how much other scenes would change, not other seeds.' * (options.seeds == 1)}\n"
        "- **Arms.** Masks are applied as `ivm mask` does, at 128 pixels; where there is none, the image is shown "
        f"whole.\n{arms}\n"
        f"- **Controls.** `{CONTROL}` has the looks of masked images without their sense. *Alone* is no policy: the "
        "centres of a mask's largest pieces, in an order left to chance where there are two."
    )
