"""The picture at the top of the README: `python docs/site/first_picture.py`.

Labels a small world with the embedded experts and takes one good label of each of four kinds. Below is a photograph,
which these experts do not know: a person's box takes the grounder's place.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import SubFigure

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.data_set import DataSet
from storage.disk.publish import whole_file
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Label, Rle, Status

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = ROOT / "examples" / "photograph"
KINDS = ("relation", "two_targets", "attribute", "counting")
GOOD_IOU = 0.85
SIDE = 256
COLOURS = ((255, 176, 0), (66, 165, 245), (236, 64, 122))
"""RGB of the first, second and third proposal."""
BOX = (22, 163, 74)
FADED = (48, 48, 56)
"""RGB that what is not kept fades to."""


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "labels.jpg")
    parser.add_argument("--scenes", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        world = write_world(Path(scratch) / "world", "test", scenes=options.scenes, pairs_per_scene=3, human_share=1.0)
        good = _good(_labels(world, Path(scratch) / "data"))
        photograph, human_mask = _photograph(Path(scratch))
    figure = plt.figure(figsize=(15, 10.2), layout="constrained")
    rows = figure.subfigures(3, 1, height_ratios=(1, 1, 1.04))
    for row, pair in zip(rows, (good[:2], good[2:]), strict=False):
        for place, label in zip(row.subfigures(1, 2), pair, strict=True):
            _draw(place, label, [_asked(label), _proposed(label), _kept(label, label.mask)])
    names = ("asked, with a person's box", "proposed", "kept", "kept by a person's mask")
    panels = [_asked(photograph), _proposed(photograph), _kept(photograph, photograph.mask)]
    iou = rle.iou(photograph.mask, human_mask)
    _draw(rows[2], replace(photograph, human_iou=iou), [*panels, _kept(photograph, human_mask)], names)
    with whole_file(options.out) as hidden:
        figure.savefig(hidden, format="jpeg", dpi=80, pil_kwargs={"quality": 85, "optimize": True})


def _labels(manifest: Path, out: Path, root: Path | None = None) -> list[Label]:
    label_manifest(prepare(manifest, out, recipe("demo", {}), part_size=64, image_root=root))
    with DataSet.open(out) as data:
        return list(data.labels())


def _good(labels: Sequence[Label]) -> list[Label]:
    """Of each of `KINDS` the accepted label of highest quality with a mask near the true one, each of another image."""
    right = [one for one in labels if one.status is Status.ACCEPTED and one.human_iou >= GOOD_IOU]
    found: dict[str, Label] = {}
    for kind in KINDS:
        able = (one for one in right if one.sample.kind == kind and one.sample.image_uri not in found)
        best = max(able, key=lambda label: label.scores.quality)
        found[best.sample.image_uri] = best
    return list(found.values())


def _photograph(scratch: Path) -> tuple[Label, Rle]:
    """The label of the example's photograph from a person's box, and the mask that came with it."""
    line = json.loads((PHOTOGRAPH / "manifest.jsonl").read_text())
    (target,) = line["targets"]
    drawn = target.pop("mask_rle")
    human_mask = rle.from_counts(drawn["size"], drawn["counts"])
    box = rle.bbox(human_mask)
    assert box is not None
    target["box"] = [box.x0, box.y0, box.x1, box.y1]
    manifest = scratch / "photograph.jsonl"
    manifest.write_text(json.dumps(line) + "\n")
    (label,) = _labels(manifest, scratch / "photograph", PHOTOGRAPH)
    return label, human_mask


def _image(label: Label) -> np.ndarray:
    image_HWC = decode(label.sample.image)
    scale = SIDE / image_HWC.shape[0]
    return cv2.resize(image_HWC, (round(image_HWC.shape[1] * scale), SIDE), interpolation=cv2.INTER_CUBIC)


def _asked(label: Label) -> np.ndarray:
    image_HWC = _image(label)
    scale = SIDE / label.mask.height
    for one in label.candidates:
        if one.chosen:
            corners = [round(scale * side) for side in (one.box.x0, one.box.y0, one.box.x1, one.box.y1)]
            cv2.rectangle(image_HWC, corners[:2], corners[2:], BOX, 3)
    return image_HWC


def _proposed(label: Label) -> np.ndarray:
    image_HWC = _image(label)
    gray_HWC = cv2.cvtColor(cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY) // 2, cv2.COLOR_GRAY2RGB)
    for proposal, colour in reversed(list(zip(label.proposals, COLOURS, strict=False))):
        mask_HW = _large(proposal.mask, image_HWC)
        gray_HWC[mask_HW] = (0.6 * np.array(colour) + 0.4 * gray_HWC[mask_HW]).astype(np.uint8)
        contours, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(gray_HWC, contours, -1, colour, 2, cv2.LINE_AA)
    return gray_HWC


def _kept(label: Label, mask: Rle) -> np.ndarray:
    image_HWC = _image(label)
    faded_HWC = (0.15 * image_HWC + 0.85 * np.array(FADED)).astype(np.uint8)
    return np.where(_large(mask, image_HWC)[..., None], image_HWC, faded_HWC)


def _large(mask: Rle, image_HWC: np.ndarray) -> np.ndarray:
    size = (image_HWC.shape[1], image_HWC.shape[0])
    return cv2.resize(rle.decode(mask).astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5


def _draw(
    place: SubFigure, label: Label, panels: Sequence[np.ndarray], names: Sequence[str] = ("asked", "proposed", "kept")
) -> None:
    """Panels under the instruction, each with its name; below the last two what the label is worth."""
    title = textwrap.shorten(f'"{label.sample.instruction}"', 70, placeholder='..."')
    place.suptitle(title, fontsize=14, weight="bold")
    scores = ", ".join(f"{one.score:.2f}" for one in label.proposals[: len(COLOURS)])
    verdict = f"{label.status}: quality {label.scores.quality:.2f}\nIoU with truth {label.human_iou:.2f}"
    below = ("", f"scores {scores}\n", verdict, "\n")
    for axes, panel_HWC, name, text in zip(place.subplots(1, len(panels)), panels, names, below, strict=False):
        axes.imshow(panel_HWC, interpolation="nearest")
        axes.set_title(name, fontsize=14)
        axes.set_xlabel(text, fontsize=14)
        axes.set_xticks([])
        axes.set_yticks([])


if __name__ == "__main__":
    main()
