"""`make demo`: draw a world, label it, question the labels, go on training on them, mask what nobody has seen."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.label_and_train import label_and_train
from ivm_data.cli.console import say, show, show_arrow
from ivm_data.report.build import write_report
from ivm_data.worlds.world import generate, write_world
from ivm_model.masking import apply
from ivm_model.model.checkpoint import read_config
from ivm_model.predictor import Predictor
from storage.catalog import Catalog

UNSEEN = 9000
"""Index of the first scene that is masked at the end; far beyond the labeled ones."""


def main() -> None:
    """Run the demo; everything it writes lies in one folder."""
    options = _options()
    out: Path = options.out
    manifest = write_world(out / "world", "test", options.scenes, pairs_per_scene=3, human_share=0.25)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):  # a server of its own, whatever `make up` set
        checkpoint = label_and_train(
            manifest, out / "data", part_size=24, train_overrides={"generator.steps": options.steps, "start": "zoo:ivm"}
        )
    _show_quality(out / "data")
    report = write_report(out / "data", out / "report.html", title="The demo's labels")
    model = out / "model"
    shutil.copytree(checkpoint, model, dirs_exist_ok=True)
    _show_model(model)
    pictures = [str(path) for path in _mask_unseen(Predictor.from_pretrained(model), out)]
    show(
        ["look at", "what it is"],
        [
            (report, "the labels: numbers, charts, best and worst"),
            (pictures[0], "scenes that nobody has seen: input | heatmap | masked"),
            (model / "README.md", "the model card, with scores on held-out truth"),
        ],
    )


def _show_quality(data: Path) -> None:
    with Catalog(data) as catalog:
        for name in ("summary", "held_out_by_difficulty", "stage_seconds"):
            show_arrow(catalog.query(name), title=name)
        bins = catalog.query("calibration", held_out=True).to_pylist()
        if bins:
            say(f"ECE of the calibrated quality on held-out masks: {bins[0]['ece']:.3f}")


def _show_model(model: Path) -> None:
    """What the fine-tuned model scores on held-out masks, if some were kept, and what it scored before."""
    facts = read_config(model)["training"]
    names = {"zoo:ivm, before": "start_scores", "after": "scores", "the engine's labels": "label_scores"}
    overall = {name: facts[key]["overall"] for name, key in names.items() if facts[key]}
    rows = [(name, str(each["count"]), f"{each['giou']:.3f}") for name, each in overall.items()]
    show(["masking model, on held-out masks", "rows", "gIoU"], rows)


def _mask_unseen(predictor: Predictor, out: Path) -> list[Path]:
    """Three new scenes as rows of input | heatmap | masked, and the first scene as an input to play with."""
    rows = []
    scenes = list(generate("test", UNSEEN, 3, kinds=("attribute", "two_targets"), per_scene=1))
    for scene, pair, _ in scenes:
        heatmap_HW = predictor.heatmap(scene.image_HWC, pair.instruction)
        say(f"{pair.instruction}", highlight=False)
        heat_HWC = np.repeat((heatmap_HW * 255).astype(np.uint8)[..., None], 3, axis=2)
        rows.append(
            np.concatenate([scene.image_HWC, heat_HWC, apply(scene.image_HWC, heatmap_HW, "overlay").image_HWC], 1)
        )
    paths = [out / "masked.png", out / "scene.png"]
    Image.fromarray(np.concatenate(rows)).resize((768, 256 * len(rows))).save(paths[0])
    Image.fromarray(scenes[0][0].image_HWC).save(paths[1])
    return paths


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything")
    parser.add_argument("--scenes", type=int, default=60, help="images, with three instructions each")
    parser.add_argument("--steps", type=int, default=100, help="training steps of the masking model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
