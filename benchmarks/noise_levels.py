"""Labels with known noise, and what is written down of the trainings on them: a run that was stopped goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from benchmarks import arms
from benchmarks.noise_labels import TEST_SOURCE, NoiseConfig, cases, write_labels
from benchmarks.weighting_experiment import ComparisonData, prepare
from ivm_data.recipes.training_recipes import train_config
from ivm_model.data.training_rows import RowsConfig
from ivm_model.train.train_config import TrainConfig
from storage.records import Status


@dataclass(frozen=True)
class Level:
    """One noise level: its labels, how long an arm trains, and where its results are written down."""

    labels: NoiseConfig
    steps: int
    folder: Path

    @property
    def config(self) -> TrainConfig:
        """Every label trains, also those that the gate would throw away."""
        rows = RowsConfig(self.labels.recipe, tuple(Status), (TEST_SOURCE,), test_share=0.0)
        config = train_config(self.folder / "data", self.folder / "unused", {"generator.steps": self.steps})
        return replace(config, rows=rows)

    def result(self, name: str) -> Path:
        """Where a result is written down."""
        return self.folder / f"{self.labels.recipe}-{self.steps}-{name}.json"

    def label(self) -> None:
        """Make the labels where they are missing."""
        began = time.perf_counter()
        write_labels(self.folder / "data", self.labels)
        self._log("labels", began)

    def judge(self) -> None:
        """Write down what is thought of each machine label, and how it is wrong."""
        path = self.result("judged")
        if path.exists():
            return
        began = time.perf_counter()
        judged = arms.judge(_prepared(self))
        way = {case.draft.sample.id: case.way for case in cases("machine", self.labels.machine, self.labels.ways)}
        ways = [way[row.sample_id] for row in _prepared(self).machine]
        arms.write(path, judged | {"way": ways})
        self._log("judged", began)

    def train(self, seed: int, names: Sequence[str]) -> None:
        """Train what is missing of a seed's arms."""
        began = time.perf_counter()
        trained = arms.train(self.result(f"seed-{seed}"), partial(_prepared, self), seed, names)
        if trained:
            self._log(f"seed {seed}, {len(trained)} arms", began)

    def _log(self, what: str, began: float) -> None:
        labels = self.labels
        noise = f"{labels.noise:.0%} wrong ({labels.mixture}), {labels.human} human"
        print(f"{noise}, {what}: {time.perf_counter() - began:.0f} s", flush=True)


@cache
def _prepared(level: Level) -> ComparisonData:
    """A process that trains several seeds of a level encodes its rows once."""
    return prepare(level.config)
