"""Make the embedded masking model, `zoo:ivm`, by the engine's own path: label, train with weights, keep the best.

    python -m benchmarks.masking_model

The engine, with `everything` as its second proposer, labels new scenes of the test world; human masks are there for
scenes of the train world only, so no true mask of the test world is learned from. What was labeled stays in `--work`,
and a training that was stopped goes on. The scores are of other scenes, that nothing was labeled or trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from shutil import copy2
from typing import Any

import torch

from benchmarks.calibrate_embedded import calibrated, validation_world
from benchmarks.results import FIRST_SCENE, label_in_processes, labeled_world, world
from ivm_data.engine.labeling_run import prepare
from ivm_data.evaluation.mask_table import MaskTable, evaluate_masks
from ivm_data.evaluation.report import cell
from ivm_data.evaluation.systems import system
from ivm_data.evaluation.testset import TestSet
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.recipes.training_recipes import train_config
from ivm_data.worlds.grammar import ALL_KINDS, KINDS
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.train.train_config import TrainConfig
from ivm_model.train.trainer import train_dwsl
from storage.common.markdown import markdown_table
from storage.disk.publish import whole_folder

FIRST_TRAINED = 20_000
"""Scenes from here on are labeled; the scores of every page are of scenes before."""
PART_SIZE = 100
MIX = (*KINDS * 3, *ALL_KINDS)
"""Kinds of instructions that it learns; two thirds of them are of the first six."""
SETTINGS: dict[str, Any] = {
    "weighting": "verification",
    "generator.ema": 0.998,
    "lora.rank": 16,
    "lora.layers": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "decoder.prompt": "text",
    "run.evaluate_every": 400,
    "run.validation_share": 0.3,
    "rows.test_share": 0.02,
}
"""What differs from `ivm train`'s own."""


def main() -> None:
    """Label, train, score, write the folder."""
    options = _options()
    torch.set_num_threads(1)
    validation = validation_world(options.work / "validation", options.calibrated)
    chosen = calibrated(teacher(), validation, options.work / "calibration", options.processes)
    human = world(options.work / "train_world", "train", options.human, 1.0, kinds=MIX)
    machine = world(options.work / "test_world", "test", options.scenes, 0.0, start=FIRST_TRAINED, kinds=MIX)
    for manifest in (human, machine):
        run = prepare(manifest, options.work / "data", chosen, PART_SIZE)
        label_in_processes(run, options.processes)
    config = settings(options.work / "data", options.work / "model", options.steps)
    if not (config.out / "README.md").exists():
        train_dwsl(config, _say)
    labeled_world(options.work / "scored", options.scored, 0.0, options.processes, part_size=PART_SIZE, chosen=chosen)
    table = score(config.out, options.work / "scored")
    publish(config.out, options.out, card(config.out, table, options))
    print((options.out / "README.md").read_text())


def teacher() -> Recipe:
    """The demo's recipe before it knew a masking model, without a calibration."""
    demo = recipe("demo")
    everything = ExpertSpec("everything", uses={"segmenter": demo.segmenter, "verifier": demo.verifier})
    return replace(demo, proposers=(everything,), calibration="")


def settings(data: Path, out: Path, steps: int) -> TrainConfig:
    """The whole training."""
    return train_config(data, out, {**SETTINGS, "generator.steps": steps})


def score(model: Path, labeled: Path) -> MaskTable:
    """The model and the engine's labels on the same new scenes."""
    test = TestSet(labeled / "world" / "manifest.jsonl")
    return evaluate_masks(test, [system(f"model:{model}"), system(f"labels:{labeled / 'data'}")])


def card(model: Path, table: MaskTable, options: argparse.Namespace) -> str:
    """The model card: the training's own, then what new scenes say."""
    ours, engine = table.tallies
    rows = [
        (name, *(cell(scores[each]["giou"]) for each in (ours, engine)))
        for name, scores in {"all": table.overall(), **table.by("kind")}.items()
    ]
    return "\n\n".join(
        [
            "# Embedded masking model",
            "IVM's masking model (arXiv 2405.19783) on the embedded segmenter and LMM. It knows the procedural world "
            "only. `ivm mask` and `ivm app` take it where no model is named.",
            f"Written by `python -m benchmarks.masking_model --scenes {options.scenes} --steps {options.steps}`."
            f"{' ' * bool(options.note)}{options.note}",
            "## New scenes",
            f"gIoU with a 95 % interval over images, {len(table.ids)} pairs of the test world's scenes from "
            f"{FIRST_SCENE}. Of `absent`, it is the share of empty masks.",
            markdown_table(("kind", "model", "engine"), rows),
            "## Settings",
            markdown_table(("setting", "value"), [(name, str(value)) for name, value in SETTINGS.items()]),
            _training(model),
        ]
    )


def publish(model: Path, out: Path, text: str) -> None:
    """Copy a checkpoint beside its base models, which it then names from its own folder."""
    config = json.loads((model / "config.json").read_text())
    config["model"] |= {"sam": "../segmenter", "lmm": "../lmm"}
    with whole_folder(out) as folder:
        copy2(model / "model.safetensors", folder)
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        (folder / "README.md").write_text(text + "\n")


def _training(model: Path) -> str:
    """The training's own card, a level deeper."""
    text = (model / "README.md").read_text().partition("# Masking model")[2]
    return "## Training" + text.replace("\n## ", "\n### ").rstrip()


def _say(stage: str, done: int, total: int) -> None:
    if done == total or done % 100 == 0:
        print(f"{time.strftime('%H:%M:%S')} {stage} {done} of {total}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/masking_model"))
    parser.add_argument("--out", type=Path, default=WEIGHTS / "ivm", help="folder of the model")
    parser.add_argument("--scenes", type=int, default=2400, help="scenes to label, of four pairs each")
    parser.add_argument("--human", type=int, default=150, help="further scenes with human masks")
    parser.add_argument("--calibrated", type=int, default=250, help="scenes that calibrate the labels")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--scored", type=int, default=150, help="scenes that score")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--note", default="", help="a sentence for the model card")
    return parser.parse_args()


if __name__ == "__main__":
    main()
