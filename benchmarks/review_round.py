"""A round of review, simulated with the true masks: does the ranked queue teach the model more than random order?

Run: python -m benchmarks.review_round [--scenes 120] [--test-scenes 100] [--reviews 40,120] [--seeds 3] [--steps 150]

The embedded experts label one split of the procedural world; all its true masks are held out. A simulated person takes
labels from the queue, accepts those whose IoU with the truth is at least 0.9 and replaces the mask of the others by the
truth; every review is a shard, as `ivm review` writes it. Then the masking model is trained with the same number of
steps, the same seed and the same rows in the same order of ids, and scored on another split. Each seed draws its own
random order; "all" reviews every label, which is what any order comes to. Intervals are at 95 %, over seeds and test
images resampled together.

Labels and the scores of each training stay in `--work`: a run that was stopped goes on with the next training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.results import with_interval
from benchmarks.weighting_experiment import heatmaps
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.recipes.training_recipes import train_config
from ivm_data.worlds.world import write_world
from ivm_model.data.features import encode_rows
from ivm_model.data.feed import Feed
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex, index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.metrics import bootstrap
from ivm_model.metrics.evaluation import score_answers
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.signals import weigh
from ivm_model.train.trainer import TrainConfig
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.overlap import RIGHT_IOU, is_right
from storage.reading.reader import among
from storage.records import Label
from storage.tables import reviews

ACCEPT_IOU = 0.9
ROWS = RowsConfig(test_sources=("world-test",), test_share=0.0)
TRAINED_ON, SCORED_ON = "val", "test"
ORDERS = ("ranked", "random")


class Training(NamedTuple):
    """Which labels were reviewed before a training: the first `count` of an order, as `seed` draws it."""

    order: str
    seed: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.order}-{self.seed}-{self.count}"


def main() -> None:
    options = _options()
    counts = sorted(int(count) for count in options.reviews.split(","))
    _same_settings(options.work, {name: str(value) for name, value in vars(options).items() if name in SETTINGS})
    label(options.work, options.scenes, options.test_scenes)
    config = train_config(options.work / "data", options.work / "model", {"generator.steps": options.steps})
    bench = Bench(replace(config, rows=ROWS, weighting=options.weighting), options.work / "scores")
    for seed in range(options.seeds):
        bench.train(Training("none", seed, 0))
        for count in counts:
            for order in ORDERS:
                bench.train(Training(order, seed, count))
        bench.train(Training("all", seed, len(bench.labels)))
    print_queue(bench, counts)
    print_scores(bench, counts, options.seeds)


SETTINGS = ("scenes", "test_scenes", "steps", "weighting")
"""Options that scores depend on; seeds and counts may grow in a later run."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/review-round"), help="folder of labels and scores")
    parser.add_argument("--scenes", type=int, default=120, help="images to train on, three instructions each")
    parser.add_argument("--test-scenes", type=int, default=100, help="images to score on, three instructions each")
    parser.add_argument("--reviews", default="40,120", help="numbers of reviewed labels, beside none and all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="of each training")
    parser.add_argument("--weighting", default="verification", help="of the machine labels; one that needs no D")
    return parser.parse_args()


def _same_settings(work: Path, settings: dict[str, str]) -> None:
    """Refuse to mix the scores of two different runs in one folder."""
    path = work / "settings.json"
    work.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(json.dumps(settings))
    elif (before := json.loads(path.read_text())) != settings:
        raise ConfigError(f"'{work}' holds scores of {before}, now {settings}; give another --work")


def label(work: Path, scenes: int, test_scenes: int) -> None:
    for split, count in ((TRAINED_ON, scenes), (SCORED_ON, test_scenes)):
        manifest = work / split / "manifest.jsonl"
        if not manifest.exists():
            write_world(manifest.parent, split, scenes=count, pairs_per_scene=3, human_share=0.0)
        label_manifest(prepare(manifest, work / "data", recipe("demo", {}), part_size=64))


class Bench:
    """Each training starts from the same weights, and its scores are kept."""

    def __init__(self, config: TrainConfig, scores: Path) -> None:
        self.config, self.scores = config, scores
        scores.mkdir(exist_ok=True)
        index = index_rows(config.data, config.rows)
        training, reader = index.of("human", "machine"), RowReader(index.of("test"), config.feed.buffer)
        labels = DataSet.open(config.data).labels(among("source", [f"world-{TRAINED_ON}"]))
        self.labels = {label.sample.id: label for label in labels}
        self.test_rows = sorted(reader.stream({}), key=lambda row: row.sample_id)
        self.image_N = np.unique([row.image_sha for row in self.test_rows], return_inverse=True)[1]
        self.test = encode_rows(MaskingModel(config.model), self.test_rows)
        right = np.mean(is_right(training.numbers("human_iou")[training.machine]))
        quality = f"{right:.0%} of them with IoU >= {RIGHT_IOU}; {len(self.test_rows)} score"
        print(f"{len(self.labels)} labels, {len(training)} of them train without review, {quality}", flush=True)

    def train(self, one: Training) -> np.ndarray:
        """IoU of each test row, after a training from fresh weights or as it was kept."""
        kept = self.scores / f"{one.name}.npy"
        if kept.exists():
            return np.load(kept)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            data = Path(scratch)
            for kind in self.config.data.iterdir():
                (data / kind.name).symlink_to(kind.resolve())
            for sample_id in self.queue(one):
                review(data, self.labels[sample_id])
            iou_N = self._trained(index_rows(data, self.config.rows).of("human", "machine"), one.seed)
        np.save(kept, iou_N)
        seconds = time.process_time() - began
        print(f"{one.name}: gIoU {iou_N.mean():.3f}, {seconds:.0f} s of a core", flush=True)
        return iou_N

    def queue(self, one: Training) -> list[str]:
        """Sample ids in the order in which they are reviewed."""
        with Catalog(self.config.data) as catalog:
            asked = {"random": one.order == "random", "seed": one.seed, "source": f"world-{TRAINED_ON}"}
            return catalog.query("review_queue", **asked, limit=one.count)["sample_id"].to_pylist()

    def _trained(self, index: TrainingIndex, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        model = MaskingModel(self.config.model)
        feed = Feed(model, index, self.config.feed, seed)
        trainer = GeneratorTrainer(model, feed, self.config.generator, seed)
        trainer.run(weigh(self.config.weighting, index), self.config.generator.steps)
        with trainer.evaluating() as trained, torch.inference_mode():
            answers = heatmaps(trained, self.test, self.test_rows)
            return np.array(score_answers(zip(self.test_rows, answers, strict=True)).iou_N)


def review(data: Path, label: Label) -> None:
    """Append the simulated person's review."""
    truth = label.sample.human_mask
    verdict = ("wrong", truth) if label.human_iou < ACCEPT_IOU else ("right", None)
    reviews.append(data, label.lineage.recipe, label.sample.id, "simulated", verdict[0], mask=verdict[1])


def print_queue(bench: Bench, counts: list[int]) -> None:
    """What the orders bring, whatever a training makes of it."""
    rows = []
    for count in [*counts, len(bench.labels)]:
        for order in ORDERS if count < len(bench.labels) else ("all",):
            found = [bench.labels[one] for one in bench.queue(Training(order, 0, count))]
            iou_N = np.array([one.human_iou for one in found])
            no_target = np.mean([not rle.area(one.sample.human_mask) for one in found])
            unused = np.mean([one.status not in ROWS.statuses for one in found])
            shares = [(iou_N < RIGHT_IOU).mean(), (iou_N < ACCEPT_IOU).mean(), 1 - iou_N.mean(), no_target, unused]
            rows.append([str(count), order, *map(float, shares)])
    head = ["reviewed labels", "order", f"IoU < {RIGHT_IOU}", f"IoU < {ACCEPT_IOU}", "mean correction, 1 - IoU"]
    print("\n" + markdown_table([*head, "without target", "did not train before"], rows))


def print_scores(bench: Bench, counts: list[int], seeds: int) -> None:
    def iou(order: str, count: int) -> np.ndarray:
        return np.stack([bench.train(Training(order, seed, count)) for seed in range(seeds)])

    none_SN = iou("none", 0)
    rows = [["0", "none", float(none_SN.mean()), "", ""]]
    for count in counts:
        random_SN = iou("random", count)
        for order in ORDERS:
            scored_SN = iou(order, count)
            gains = [interval(scored_SN - none_SN, bench.image_N)]
            gains += ["" if order == "random" else interval(scored_SN - random_SN, bench.image_N)]
            rows.append([str(count), order, float(scored_SN.mean()), *gains])
    all_SN = iou("all", len(bench.labels))
    rows.append([str(len(bench.labels)), "all", float(all_SN.mean()), interval(all_SN - none_SN, bench.image_N), ""])
    print(
        "\n" + markdown_table(["reviewed labels", "order", "gIoU", "against no review", "against random order"], rows)
    )


def interval(gain_SN: np.ndarray, image_N: np.ndarray) -> str:
    """Mean and 95 % bootstrap interval over seeds S and the images of the rows N together."""
    return with_interval(
        gain_SN.mean(), bootstrap.interval(lambda rows, seeds: gain_SN[seeds][:, rows].mean(), image_N, len(gain_SN))
    )


if __name__ == "__main__":
    main()
