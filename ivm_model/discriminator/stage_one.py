"""Stage I: discriminators that never score what they were trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from ivm_model.data.features import Features
from ivm_model.data.feed import Feed
from ivm_model.data.subsets import balanced
from ivm_model.data.training_rows import TrainingRow
from ivm_model.discriminator.masked_views import MaskedViews, Purpose, make_views, see_views
from ivm_model.discriminator.network import Discriminator, DiscriminatorConfig
from ivm_model.discriminator.view_inputs import prepare_view_inputs
from ivm_model.engine import losses
from ivm_model.engine.optimization import Progress, Stepper, silent
from ivm_model.model.checkpoint import tensor_hash
from ivm_model.model.masking_model import MaskingModel
from storage.errors import ConfigError

PARTS: tuple[Purpose, ...] = ("human", "machine", "wrong")
ABSENCE_SHARE = 0.25
"""Share of labels that say "no target" in a batch."""


@dataclass(frozen=True)
class DiscriminatorScores:
    """What the discriminators say of every view.

    Attributes:
        views: what was looked at.
        d_M: P(human), from the fold that did not train on the view's image.
        fold_M: index of that fold.
        state: trained tensors of all folds, by name.
        losses: loss of each step, fold after fold.
        loss: which loss they were trained with.
    """

    views: MaskedViews
    d_M: np.ndarray
    fold_M: np.ndarray
    state: dict[str, torch.Tensor]
    losses: tuple[float, ...]
    loss: str = "bce"

    def of(self, part: Purpose) -> np.ndarray:
        """D of the views of a part, in the order of their rows."""
        d_M: np.ndarray = self.d_M[self.views.where(part)]
        return d_M

    @property
    def name(self) -> str:
        """What the discriminators are called where their scores are kept."""
        return f"discriminator@{tensor_hash(self.state)}"


def stage_one_rows(feed: Feed, config: DiscriminatorConfig) -> tuple[np.ndarray, tuple[TrainingRow, ...]]:
    """The rows that the discriminators learn from: a bounded, even choice of what can be read.

    Returns:
        Their indices in the feed's index, and the rows, human ones first, each in the order of their sample ids.

    Raises:
        ShardError: too many rows cannot be read.
    """
    index, problems = feed.index, dict[str, str]()
    id_K, source_K = index.words("sample_id"), index.words("source")
    choices = ((index.human, config.human), (index.machine, config.machine))
    chosen_N = np.concatenate([balanced(rows_K, id_K, source_K, limit) for rows_K, limit in choices])
    rows = feed.reader.rows(np.sort(chosen_N), problems, decode=True)
    feed.skip(problems)
    rows.sort(key=lambda row: (row.origin, row.sample_id))
    place = {id_K[k]: k for k in chosen_N}
    return np.array([place[row.sample_id] for row in rows], np.int64), tuple(rows)


def check_origins(origins: Iterable[str]) -> None:
    """Raise ConfigError unless there are both human and machine rows for a discriminator to tell apart."""
    if missing := sorted({"human", "machine"} - set(origins)):
        raise ConfigError(
            f"a discriminator tells human from machine labels, and there is no {missing[0]} one to train on; add some, "
            "or set 'weighting' to uniform, verification, quality or another that asks no discriminator"
        )


def prepare_views(
    model: MaskingModel,
    rows: tuple[TrainingRow, ...],
    config: DiscriminatorConfig,
    *,
    seed: int,
    progress: Progress = silent,
) -> MaskedViews:
    """Make and encode every view of the training rows; no training changes them.

    Raises:
        ConfigError: there are no human or no machine rows.
    """
    check_origins(row.origin for row in rows)
    return see_views(model, rows, make_views(rows, config.wrong_per_row, seed), config.dim, progress)


def run_stage_one(
    model: MaskingModel,
    features: Features,
    views: MaskedViews,
    config: DiscriminatorConfig,
    *,
    seed: int,
    progress: Progress = silent,
) -> DiscriminatorScores:
    """Train one discriminator for each fold on the other folds' images, and score the fold with it.

    Raises:
        ConfigError: a fold's training side lacks human or machine rows.
        TrainingDivergedError: the loss is not finite.
    """
    return _StageOne(model, features, views, config, seed).run(progress)


def pack_scores(scores: DiscriminatorScores) -> dict[str, Any]:
    """Scores as tensors and plain values, without their views, which `restore_scores` makes again."""
    return {
        "d_M": torch.from_numpy(scores.d_M),
        "fold_M": torch.from_numpy(scores.fold_M),
        "state": scores.state,
        "losses": list(scores.losses),
    }


def restore_scores(
    packed: dict[str, Any], rows: tuple[TrainingRow, ...], config: DiscriminatorConfig, *, seed: int
) -> DiscriminatorScores:
    """Scores as they were, except that their views are not encoded."""
    views = MaskedViews(make_views(rows, config.wrong_per_row, seed), torch.zeros(0))
    d_M, fold_M = packed["d_M"].numpy(), packed["fold_M"].numpy()
    return DiscriminatorScores(views, d_M, fold_M, packed["state"], tuple(packed["losses"]), config.loss)


class _StageOne:
    def __init__(
        self, model: MaskingModel, features: Features, views: MaskedViews, config: DiscriminatorConfig, seed: int
    ) -> None:
        self.model, self.views, self.config, self.seed = model, views, config, seed
        self.row_M = np.array([view.row for view in views.views])
        _, image_N = np.unique(features.image_N, return_inverse=True)
        fold_U = np.random.default_rng(seed).permutation(int(image_N.max()) + 1) % config.folds
        self.fold_M = fold_U[image_N[self.row_M]]
        self.questions = prepare_view_inputs(model, features, views, config.agreement)

    def run(self, progress: Progress) -> DiscriminatorScores:
        d_M = np.zeros(len(self.row_M), np.float32)
        state: dict[str, torch.Tensor] = {}
        history: list[float] = []
        for fold in range(self.config.folds):
            torch.manual_seed(self.seed * self.config.folds + fold)
            discriminator = Discriminator(self.model.lmm, self.config, fold).to(self.model.device)
            history += self._fit(discriminator, fold, progress)
            mine = np.flatnonzero(self.fold_M == fold)
            d_M[mine] = self.questions.score(discriminator, mine)
            state |= discriminator.trained_state()
            self.model.lmm.drop_role(discriminator.role)
        return DiscriminatorScores(self.views, d_M, self.fold_M, state, tuple(history), self.config.loss)

    def _fit(self, discriminator: Discriminator, fold: int, progress: Progress) -> list[float]:
        config = self.config
        groups = balanced_groups(self.views, self.fold_M != fold)
        if not groups:
            raise ConfigError(
                f"outside fold {fold} are no human or no machine rows to learn from, neither masks nor statements that "
                "there is no target; add human masks"
            )
        learning: list[tuple[Iterable[nn.Parameter], float]] = [(discriminator.parameters(), config.head_rate)]
        if config.lora_rate:
            learning.append((self.model.lmm.role_parameters(discriminator.role).values(), config.lora_rate))
        stepper = Stepper(learning, config.steps)
        rng = np.random.default_rng([self.seed, fold])
        discriminator.train()
        self.model.lmm.train()
        history = []
        for step in range(1, config.steps + 1):
            drawn = [rng.choice(pool, size) for group in groups for pool, size in group.draws(config.batch)]
            sizes = [len(index_K) for index_K in drawn]
            logits = iter(self.questions.logits(discriminator, np.concatenate(drawn)).split(sizes))
            terms = [group.share * self._loss(*islice(logits, len(group.pools))) for group in groups]
            history.append(stepper.step(torch.stack(terms).sum()))
            progress(f"discriminator {fold + 1}/{config.folds}", step, config.steps)
        discriminator.eval()
        self.model.lmm.eval()
        return history

    def _loss(
        self, human_H: torch.Tensor, machine_M: torch.Tensor, wrong_N: torch.Tensor | None = None
    ) -> torch.Tensor:
        if self.config.loss == "bce":
            return losses.human_or_not(human_H, machine_M, wrong_N)
        unlabeled = losses.positive_unlabeled if self.config.loss == "pu" else losses.non_negative_pu
        return unlabeled(human_H, machine_M, wrong_N, eta=self.config.eta)


@dataclass(frozen=True)
class Group:
    """What one head learns from: views with a mask, or those that say "no target".

    Attributes:
        share: of each batch, in (0, 1].
        pools: indices of its views by part; half of what is drawn is human, the rest machine and wrong in equal parts.
    """

    share: float
    pools: dict[Purpose, np.ndarray]

    def part_share(self, part: Purpose) -> float:
        """Share of a part in what is drawn of the group."""
        return 0.5 if part == "human" else 0.5 / (len(self.pools) - 1)

    def draws(self, batch: int) -> list[tuple[np.ndarray, int]]:
        """Each pool and how many views of it are drawn for a batch."""
        return [(pool, max(1, int(batch * self.share * self.part_share(part)))) for part, pool in self.pools.items()]


def balanced_groups(views: MaskedViews, among_M: np.ndarray) -> list[Group]:
    """What is learned from some of the views; a group without human or machine views teaches nothing."""
    found = []
    for empty in (False, True):
        here_M = among_M & (views.empty_M == empty)
        pools = {part: views.where(part)[here_M[views.where(part)]] for part in PARTS}
        if len(pools["human"]) and len(pools["machine"]):
            found.append((empty, {part: pool for part, pool in pools.items() if len(pool)}))
    share = {True: ABSENCE_SHARE, False: 1 - ABSENCE_SHARE}
    return [Group(share[empty] if len(found) > 1 else 1.0, pools) for empty, pools in found]
