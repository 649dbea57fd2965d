import math

import numpy as np
import pytest
import torch

from ivm_model.data.training_rows import truth_iou
from ivm_model.discriminator.audit import audit
from ivm_model.discriminator.masked_views import MaskedViews, make_views
from ivm_model.discriminator.stage_one import DiscriminatorScores
from storage.pixels import rle


@pytest.fixture
def judge(rows):
    """Audit a function of (view, row) that stands for a discriminator."""
    views = make_views(rows.train, wrong_per_row=0, seed=0)

    def run(d):
        d_M = np.array([d(view, rows.train[view.row]) for view in views], np.float32)
        scores = DiscriminatorScores(
            MaskedViews(views, torch.zeros(len(views), 1, 1)), d_M, np.zeros(len(views), int), {}, ()
        )
        return audit(scores, truth_iou(rows.machine))

    return run


def _right(view, row) -> bool:
    truth = row.mask if row.origin == "human" else row.truth
    return rle.iou(view.mask, truth) >= 0.5


def test_a_perfect_judge_of_masks_passes_every_audit(judge):
    result = judge(lambda view, row: 0.9 if _right(view, row) else 0.1)
    assert result.good_bad_auc == result.good_bad_win == result.right_wrong_auc == 1.0
    assert result.leakage_auc == 0.5
    assert result.shuffled_win > 0.8 and result.shuffled_change > 0.4
    assert result.right_d == pytest.approx(0.9) and result.wrong_d == pytest.approx(0.1)


def test_a_judge_that_ignores_the_mask_is_found_out(judge):
    result = judge(lambda view, row: 0.9 if row.origin == "human" else 0.1)
    assert result.shuffled_win == result.good_bad_win == 0.5 and result.shuffled_change == 0.0
    assert result.right_wrong_auc == 0.5
    assert result.leakage_auc == 1.0


def test_a_judge_that_says_half_of_everything_is_calibrated_and_an_overconfident_one_is_not(judge):
    assert judge(lambda view, row: 0.5).calibration_error == pytest.approx(0.0, abs=1e-6)
    sure = judge(lambda view, row: 0.95 if row.origin == "human" else 0.75)
    assert sure.calibration_error == pytest.approx((0.05 + 0.75) / 2, abs=1e-6)


def test_what_cannot_be_measured_is_unknown_not_zero(rows):
    views = make_views(rows.machine, wrong_per_row=0, seed=0)
    scores = DiscriminatorScores(
        MaskedViews(views, torch.zeros(len(views), 1, 1)), np.full(len(views), 0.5), np.zeros(0), {}, ()
    )
    result = audit(scores, np.full(len(rows.machine), np.nan))
    assert math.isnan(result.calibration_error)
    assert math.isnan(result.good_bad_auc) and math.isnan(result.right_wrong_auc) and math.isnan(result.leakage_auc)
