"""Stage I: discriminators that never score what they were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ivm_model.data.dataset import TrainingRow
from ivm_model.data.features import Features
from ivm_model.discriminator.masked_views import MaskedViews, Purpose, make_views, see_views
from ivm_model.discriminator.network import Discriminator, DiscriminatorConfig
from ivm_model.discriminator.view_inputs import prepare_view_inputs
from ivm_model.engine import losses
from ivm_model.engine.optimization import Progress, Stepper, silent
from ivm_model.model.checkpoint import tensor_hash
from ivm_model.model.masking_model import MaskingModel
from storage.errors import ConfigError


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
        return self.d_M[self.views.where(part)]

    @property
    def name(self) -> str:
        """What the discriminators are called where their opinions are kept."""
        return f"discriminator@{tensor_hash(self.state)}"


def prepare_views(
    model: MaskingModel, features: Features, config: DiscriminatorConfig, *, seed: int, progress: Progress = silent
) -> MaskedViews:
    """Make and encode every view of the training rows; no training changes them.

    Raises:
        ConfigError: there are no human or no machine rows.
    """
    rows = features.rows
    if not {"human", "machine"} <= {row.origin for row in rows}:
        raise ConfigError("a discriminator needs both human and machine rows; use weighting 'uniform' without it")
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


def pack_opinions(opinions: DiscriminatorScores) -> dict[str, Any]:
    """Opinions as tensors and plain values, without their views, which `restore_opinions` makes again."""
    return {
        "d_M": torch.from_numpy(opinions.d_M),
        "fold_M": torch.from_numpy(opinions.fold_M),
        "state": opinions.state,
        "losses": list(opinions.losses),
    }


def restore_opinions(
    packed: dict[str, Any], rows: tuple[TrainingRow, ...], config: DiscriminatorConfig, *, seed: int
) -> DiscriminatorScores:
    """Opinions as they were, except that their views are not encoded."""
    views = MaskedViews(make_views(rows, config.wrong_per_row, seed), torch.zeros(0))
    d_M, fold_M = packed["d_M"].numpy(), packed["fold_M"].numpy()
    return DiscriminatorScores(views, d_M, fold_M, packed["state"], tuple(packed["losses"]), config.loss)


class _StageOne:
    def __init__(
        self, model: MaskingModel, features: Features, views: MaskedViews, config: DiscriminatorConfig, seed: int
    ) -> None:
        self.model, self.views, self.config, self.seed = model, views, config, seed
        self.row_M = np.array([view.row for view in views.views])
        fold_U = np.random.default_rng(seed).permutation(int(features.image_N.max()) + 1) % config.folds
        self.fold_M = fold_U[features.image_N[self.row_M]]
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
        pools = {part: self._pool(part, fold) for part in ("human", "machine", "wrong")}
        if not len(pools["human"]) or not len(pools["machine"]):
            raise ConfigError(f"outside fold {fold} are no human or no machine rows to learn from; add human masks")
        shares = batch_shares(wrong=len(pools["wrong"]) > 0)
        sizes = {part: int(config.batch * share) for part, share in shares.items()}
        lora = self.model.lmm.role_parameters(discriminator.role).values()
        stepper = Stepper([(discriminator.head.parameters(), config.head_rate), (lora, config.lora_rate)], config.steps)
        rng = np.random.default_rng([self.seed, fold])
        discriminator.train()
        self.model.lmm.train()
        history = []
        for step in range(1, config.steps + 1):
            index_B = np.concatenate([rng.choice(pools[part], size) for part, size in sizes.items()])
            parts = self.questions.logits(discriminator, index_B).split(list(sizes.values()))
            history.append(stepper.step(self._loss(*parts)))
            progress(f"discriminator {fold + 1}/{config.folds}", step, config.steps)
        discriminator.eval()
        self.model.lmm.eval()
        return history

    def _pool(self, part: Purpose, fold: int) -> np.ndarray:
        """Views of a part that the fold's discriminator may learn from."""
        indices = self.views.where(part)
        return indices[self.fold_M[indices] != fold]

    def _loss(
        self, human_H: torch.Tensor, machine_M: torch.Tensor, wrong_N: torch.Tensor | None = None
    ) -> torch.Tensor:
        if self.config.loss == "bce":
            return losses.human_or_not(human_H, machine_M, wrong_N)
        unlabeled = losses.positive_unlabeled if self.config.loss == "pu" else losses.non_negative_pu
        return unlabeled(human_H, machine_M, wrong_N, eta=self.config.eta)


def batch_shares(wrong: bool) -> dict[Purpose, float]:
    """What a balanced batch is made of; `wrong`: there are deliberately wrong views."""
    return {"human": 0.5, "machine": 0.25, "wrong": 0.25} if wrong else {"human": 0.5, "machine": 0.5}
