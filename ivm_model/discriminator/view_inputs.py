"""What a discriminator is asked: masked images, their instructions, and how far the masks agree with the generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ivm_model.data.features import Features
from ivm_model.data.pixels import place, valid_mask
from ivm_model.discriminator.agreement import FEATURES, agreement
from ivm_model.discriminator.masked_views import MaskedViews
from ivm_model.discriminator.network import Discriminator
from ivm_model.model.masking_model import MaskingModel
from storage.pixels import rle

SCORE_BATCH = 64


@dataclass(frozen=True, eq=False)
class ViewInputs:
    """M views and their agreement with the generator, agreement_MF; zeros where the discriminators do without."""

    views: MaskedViews
    agreement_MF: torch.Tensor

    def logits(self, discriminator: Discriminator, index_B: np.ndarray) -> torch.Tensor:
        """What it says of some views, logit_B."""
        instructions = [self.views.views[i].instruction for i in index_B]
        device = discriminator.device
        vision_BTC = self.views.vision_MTC[index_B].to(device).float()
        empty_B = torch.from_numpy(self.views.empty_M[index_B]).to(device)
        logit_B: torch.Tensor = discriminator(vision_BTC, instructions, self.agreement_MF[index_B].to(device), empty_B)
        return logit_B

    @torch.no_grad()
    def score(self, discriminator: Discriminator, index_K: np.ndarray) -> np.ndarray:
        """P(human) of some views, at least one, d_K float32."""
        batches = np.array_split(index_K, max(1, len(index_K) // SCORE_BATCH))
        return torch.cat([self.logits(discriminator, batch).sigmoid() for batch in batches]).cpu().numpy()


@torch.no_grad()
def prepare_view_inputs(model: MaskingModel, features: Features, views: MaskedViews, agreeing: bool) -> ViewInputs:
    """Compare each view's mask with what the generator, as it is now, answers to the view's instruction.

    Args:
        agreeing: do so; otherwise the generator is not asked.
    """
    if not agreeing:
        return ViewInputs(views, torch.zeros(len(views.views), len(FEATURES)))
    row_M, side, parts = np.array([view.row for view in views.views]), model.side, []
    for start in range(0, len(row_M), SCORE_BATCH):
        batch = views.views[start : start + SCORE_BATCH]
        encoded = features.encoded_rows(row_M[start : start + SCORE_BATCH]).to(model.device)
        logits_BHW = model(encoded, [view.instruction for view in batch]).cpu()
        pairs = zip(batch, encoded.placements, strict=True)
        masks = [place(rle.decode_gray(view.mask), at, side) for view, at in pairs]
        valid_BHW = torch.stack([valid_mask(at, side) for at in encoded.placements])
        parts.append(agreement(logits_BHW, torch.from_numpy(np.stack(masks)).float() / 255, valid_BHW))
    return ViewInputs(views, torch.cat(parts))
