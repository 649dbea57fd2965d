"""D of every machine row, part by part, in the memory of a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ivm_model.data.feed import Feed
from ivm_model.data.row_reader import UNREADABLE
from ivm_model.data.training_rows import TrainingRow
from ivm_model.discriminator.masked_views import MaskedView, see_views
from ivm_model.discriminator.network import Discriminator, DiscriminatorConfig
from ivm_model.discriminator.stage_one import DiscriminatorScores
from ivm_model.discriminator.view_inputs import prepare_view_inputs
from ivm_model.engine.frozen_sharding import whole
from ivm_model.engine.optimization import Progress
from ivm_model.engine.processes import random_state, set_random_state
from ivm_model.model.masking_model import MaskingModel
from storage.errors import ShardError
from storage.parts import layout, schema
from storage.parts.rows import HEAVY_ROWS
from storage.parts.shards import write_weights
from storage.records import Weight

if TYPE_CHECKING:
    from accelerate import Accelerator


class Scorer:
    """Asks the discriminators about every machine row of a feed, and writes what they say.

    A row is judged by the fold that did not train on its image. No fold trained on an image outside of stage I's rows:
    the image's hash chooses one. One, not the mean of all, so that D of all rows is spread alike.

    Args:
        model: the masking model, its generator as stage I saw it.
        scores: of stage I.
        learned: the rows that stage I learned from.
        data: where weights are written, a shard for each part of the labels.
    """

    def __init__(
        self,
        model: MaskingModel,
        feed: Feed,
        scores: DiscriminatorScores,
        config: DiscriminatorConfig,
        *,
        learned: tuple[TrainingRow, ...],
        data: Path,
    ) -> None:
        self.model, self.feed, self.scores, self.config, self.data = model, feed, scores, config, data
        views = zip(scores.views.views, scores.fold_M.tolist(), strict=True)
        self.fold_of = {learned[view.row].image_sha: fold for view, fold in views}
        self.known = {learned[scores.views.views[i].row].sample_id: i for i in scores.views.where("machine")}

    def run(self, accelerator: Accelerator, progress: Progress) -> torch.Tensor:
        """D of every machine row in the index's order, d_N float32; NaN where a row could not be judged.

        Processes share the parts. A part whose weights are written is not judged again.

        Raises:
            ShardError: the shards, or weights of the same discriminator, changed since they were written; or too many
                rows cannot be read.
        """
        index = self.feed.index
        place_K = np.cumsum(index.split_K == "machine") - 1
        d_N, done = torch.zeros(len(index.machine)), 0
        with whole(self.model), self._discriminators() as folds:
            for number, (part, mine) in enumerate(self._parts()):
                if number % accelerator.num_processes == accelerator.process_index:
                    d_N[place_K[mine]] = torch.from_numpy(self._part(part, mine, folds))
                done += len(mine)
                progress("score", done, len(d_N))
        # Each row is judged by one process and zero in the others, so that the sum is exact.
        sum_N: torch.Tensor = accelerator.reduce(d_N.to(accelerator.device), "sum").cpu()
        return sum_N

    def _parts(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each part's name and its machine rows, in order."""
        machine, part_K = self.feed.index.machine, self.feed.index.words("part")
        name_P, number_N = np.unique(part_K[machine].astype(str), return_inverse=True)
        ends_P = np.cumsum(np.bincount(number_N, minlength=len(name_P)))
        return zip(name_P.tolist(), np.split(machine[np.argsort(number_N, kind="stable")], ends_P[:-1]), strict=True)

    def _part(self, part: str, mine: np.ndarray, folds: list[Discriminator]) -> np.ndarray:
        """D of a part's machine rows, written and read."""
        facts = self.feed.index.facts
        ids = facts["sample_id"].take(pa.array(mine)).to_pylist()
        known = self._written(part)
        missing = [(k, sample_id) for k, sample_id in zip(mine, ids, strict=True) if sample_id not in known]
        found = {
            sample_id: self._weight(sample_id, facts["recipe"][k].as_py(), self.known[sample_id])
            for k, sample_id in missing
            if sample_id in self.known
        }
        unseen = np.array([k for k, sample_id in missing if sample_id not in found], np.int64)
        for start in range(0, len(unseen), HEAVY_ROWS):
            found |= self._judge(unseen[start : start + HEAVY_ROWS], folds)
        if found:
            # Where some were written and others can be read only now, this is refused.
            ordered = [found[sample_id] for sample_id in ids if sample_id in found]
            write_weights(self.data, self.scores.name, part, ordered)
        weights = known | {sample_id: weight.d for sample_id, weight in found.items()}
        return np.array([weights.get(sample_id, np.nan) for sample_id in ids], np.float32)

    def _weight(self, sample_id: str, recipe: str, view: int) -> Weight:
        """What stage I found of a row that it learned from."""
        d, fold = float(self.scores.d_M[view]), int(self.scores.fold_M[view])
        return Weight(sample_id, recipe, self.scores.name, d, fold)

    def _written(self, part: str) -> dict[str, float]:
        """D by sample id, as an earlier process wrote it."""
        path = self.data / "weights" / layout.name(self.scores.name) / f"{layout.name(part)}.parquet"
        if not path.exists():
            return {}
        try:
            table = pq.read_table(path, schema=schema.WEIGHTS, columns=["sample_id", "d"])
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"weights '{path}' cannot be read ({error}); remove the file, and train again") from error
        return dict(zip(table["sample_id"].to_pylist(), table["d"].to_pylist(), strict=True))

    def _judge(self, index_B: np.ndarray, folds: list[Discriminator]) -> dict[str, Weight]:
        """The weights of those rows of a batch that can be read."""
        problems: dict[str, str] = {}
        try:
            weights = self._score(index_B, self.feed.reader.rows(index_B, problems), folds)
        except (ShardError, *UNREADABLE):
            # Something cannot be decoded; to try each row by itself beforehand would decode all images twice.
            weights = self._score(index_B, self.feed.reader.rows(index_B, problems, decode=True), folds)
        self.feed.skip(problems)
        return weights

    def _score(self, index_B: np.ndarray, rows: list[TrainingRow], folds: list[Discriminator]) -> dict[str, Weight]:
        if not rows:
            return {}
        readable = {row.sample_id for row in rows}
        ids = self.feed.index.facts["sample_id"].take(pa.array(index_B)).to_pylist()
        index_B = index_B[[sample_id in readable for sample_id in ids]]
        views = tuple(MaskedView("machine", i, row.mask, row.instruction) for i, row in enumerate(rows))
        seen = see_views(self.model, rows, views, self.config.dim)
        inputs = prepare_view_inputs(self.model, self.feed.features_of(index_B, rows), seen, self.config.agreement)
        fold_B = np.array([self._fold(row) for row in rows])
        d_B = np.zeros(len(rows), np.float32)
        for fold in np.unique(fold_B):
            d_B[fold_B == fold] = inputs.score(folds[fold], np.flatnonzero(fold_B == fold))
        name = self.scores.name
        judged = zip(rows, d_B.tolist(), fold_B.tolist(), strict=True)
        return {row.sample_id: Weight(row.sample_id, row.recipe, name, d, fold) for row, d, fold in judged}

    def _fold(self, row: TrainingRow) -> int:
        return int(self.fold_of.get(row.image_sha, int(row.image_sha[:8], 16) % self.config.folds))

    @contextmanager
    def _discriminators(self) -> Iterator[list[Discriminator]]:
        """All folds, as they were trained. Making them draws random numbers, which the training must not notice."""
        random, folds = random_state(), []
        for fold in range(self.config.folds):
            folds.append(Discriminator(self.model.lmm, self.config, fold).to(self.model.device))
            folds[-1].load_trained(self.scores.state)
            folds[-1].eval()
        self.model.eval()
        try:
            yield folds
        finally:
            for discriminator in folds:
                self.model.lmm.drop_role(discriminator.role)
            set_random_state(random)
