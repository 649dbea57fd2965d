"""What is known of the machine labels of a training, gathered for its weighting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ivm_model.data.dataset import TrainingRows, truth_iou
from ivm_model.data.shard_index import ShardIndex
from ivm_model.discriminator.stage_one import DiscriminatorScores
from ivm_model.train.co_teaching import noise_rate
from ivm_model.weighting.weightings import Signals, get_weighting
from storage.records import Status


def weigh(
    weighting: str,
    rows: TrainingRows,
    opinions: DiscriminatorScores | None,
    heard: Mapping[str, torch.Tensor] | None = None,
) -> np.ndarray:
    """One weight for each training row, weight_N float32: human rows 1, machine rows by the weighting."""
    evidence = Signals(
        count=len(rows.machine),
        d_N=None if opinions is None else opinions.of("machine"),
        d_loss="" if opinions is None else opinions.loss,
        verification_N=np.array([row.verification for row in rows.machine], np.float32),
        quality_N=np.array([row.quality for row in rows.machine], np.float32),
        accepted_N=np.array([row.accepted for row in rows.machine], np.float32),
        noise=noise_rate(rows.human),
        truth_iou_N=truth_iou(rows.machine),
        **{name: value.numpy() for name, value in (heard or {}).items()},
    )
    return np.concatenate([np.ones(len(rows.human), np.float32), get_weighting(weighting)(evidence)])


def weigh_index(weighting: str, index: ShardIndex, d_N: np.ndarray | None = None, d_loss: str = "") -> np.ndarray:
    """As `weigh`, for the rows of an index in their order.

    Args:
        d_N: D of the machine rows; those where it is NaN could not be judged and weigh 0.
        d_loss: the loss that D was trained with.
    """
    machine = index.machine if d_N is None else index.machine[~np.isnan(d_N)]
    verification_K = index.numbers("verification")
    unasked_K = 1 - index.numbers("presence")
    evidence = Signals(
        count=len(machine),
        d_N=None if d_N is None else d_N[~np.isnan(d_N)],
        d_loss=d_loss,
        verification_N=np.where(np.isnan(verification_K), unasked_K, verification_K)[machine],
        quality_N=index.numbers("quality")[machine],
        accepted_N=np.isin(index.words("status")[machine], [Status.ACCEPTED, Status.NO_TARGET]),
        truth_iou_N=index.numbers("human_iou")[machine],
    )
    weight_K = index.human_K.astype(np.float32)
    weight_K[machine] = get_weighting(weighting)(evidence)
    return weight_K
