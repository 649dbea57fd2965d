"""What is known of the machine labels of a training, gathered for its weighting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex
from ivm_model.weighting.weightings import Signals, get_weighting
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.records import Status


def weigh(
    weighting: str,
    index: TrainingIndex,
    d_N: np.ndarray | None = None,
    d_loss: str = "",
    generators: Mapping[str, torch.Tensor] | None = None,
) -> np.ndarray:
    """One weight for each training row, weight_K float32: human rows 1, machine rows by the weighting.

    Args:
        d_N: D of the N machine rows.
        d_loss: the loss that D was trained with.
        generators: what generators say of the machine rows, as fields of `Signals`.

    Machine rows of which a signal that was asked for is NaN could not be read; they weigh 0.
    """
    machine, generators_N = index.machine, {name: value.numpy() for name, value in (generators or {}).items()}
    asked = [d_N] if d_N is not None else list(generators_N.values())
    judged_N = ~np.any([np.isnan(each) for each in asked], axis=0) if asked else np.ones(len(machine), bool)
    verification_K = index.numbers("verification")
    absence_K = 1 - index.numbers("presence")
    signals = Signals(
        count=int(judged_N.sum()),
        d_N=None if d_N is None else d_N[judged_N],
        d_loss=d_loss if d_N is not None else "",
        verification_N=np.where(np.isnan(verification_K), absence_K, verification_K)[machine][judged_N],
        empty_N=index.numbers("area")[machine][judged_N] == 0,
        quality_N=index.numbers("quality")[machine][judged_N],
        accepted_N=np.isin(index.words("status")[machine][judged_N], [Status.ACCEPTED, Status.NO_TARGET]),
        noise=noise_rate(index),
        truth_iou_N=index.numbers("human_iou")[machine][judged_N],
        **{name: value[judged_N] for name, value in generators_N.items()},
    )
    weight_K: np.ndarray = (index.split_K == "human").astype(np.float32)
    weight_K[machine[judged_N]] = get_weighting(weighting)(signals)
    return weight_K


def noise_rate(index: TrainingIndex) -> float:
    """Share of the engine's labels of human rows that are wrong, not `is_right`; NaN where there are none."""
    iou_H = index.numbers("human_iou")[index.human]
    id_H = index.words("sample_id")[index.human]
    reader = RowReader(index, buffer=1)
    for h in np.flatnonzero([sample_id in index.reviewed for sample_id in id_H]):
        corrected = index.reviewed[id_H[h]].mask
        row = reader.row(int(index.human[h])) if corrected else None
        iou_H[h] = rle.iou(row.machine_mask, corrected) if row and row.machine_mask and corrected else 1.0
    known_H = iou_H[~np.isnan(iou_H)]
    return float((~is_right(known_H)).mean()) if len(known_H) else float("nan")
