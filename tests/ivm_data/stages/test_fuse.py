from dataclasses import replace

import numpy as np
import pytest

from ivm_data.quality.calibration import Uncalibrated
from ivm_data.stages.fuse import FuseConfig, FuseStage
from ivm_data.stages.stage import Draft
from storage.pixels import rle
from storage.records import Proposal, Sample

IMAGE = np.zeros((8, 8, 3), np.uint8)


def draft(*proposals, absent=False):
    sample = Sample("id", b"", "x.png", 8, 8, "the star", "test")
    return Draft(sample, IMAGE, absent=absent, proposals=proposals)


def square(x0, x1, score, **scores):
    mask = np.zeros((8, 8), bool)
    mask[2:6, x0:x1] = True
    return Proposal(f"expert@{x0}", rle.encode(mask), score, score, **scores)


def fuse(one):
    return FuseStage(Uncalibrated(), FuseConfig()).run([one])


def test_agreeing_experts_give_their_common_mask_and_full_agreement():
    fused = fuse(draft(square(1, 4, 0.9), square(1, 4, 0.5))).kept[0]
    assert fused.mask == square(1, 4, 1).mask
    assert fused.scores.agreement == 1
    assert fused.scores.area_ratio == pytest.approx(12 / 64)


def test_where_two_experts_disagree_the_better_supported_one_wins_and_disagreement_is_recorded():
    fused = fuse(draft(square(0, 3, 0.4), square(5, 8, 0.6))).kept[0]
    assert fused.mask == square(5, 8, 1).mask
    assert [p.iou_with_label for p in fused.proposals] == [0, 1]
    assert fused.scores.agreement == 0


def test_two_of_three_experts_outvote_the_third():
    fused = fuse(draft(square(0, 3, 0.6), square(0, 3, 0.5), square(5, 8, 0.9))).kept[0]
    assert fused.mask == square(0, 3, 1).mask


def test_an_expert_that_found_nothing_does_not_vote_but_counts_as_disagreement():
    empty = replace(square(0, 3, 0.0), mask=rle.encode(np.zeros((8, 8), bool)))
    fused = fuse(draft(square(0, 3, 0.8), empty)).kept[0]
    assert fused.mask == square(0, 3, 1).mask
    assert fused.scores.agreement == 0


def test_where_no_expert_supports_its_mask_that_of_the_boxes_stands_for_the_gate_to_judge():
    fused = fuse(draft(square(0, 3, 0.0), square(5, 8, 0.0))).kept[0]
    assert fused.mask == square(0, 3, 1).mask
    assert [p.score for p in fused.proposals] == [0.0, 0.0]


def test_the_least_certain_proposal_sets_predicted_iou_and_stability():
    fused = fuse(draft(square(0, 3, 0.8, predicted_iou=0.9, stability=0.95), square(0, 3, 0.8))).kept[0]
    assert (fused.scores.predicted_iou, fused.scores.stability) == (0.9, 0.95)


def test_no_pixels_from_anybody_is_a_rejection():
    empty = replace(square(0, 3, 0.5), mask=rle.encode(np.zeros((8, 8), bool)))
    outcome = fuse(draft(empty, empty))
    assert not outcome.kept
    assert outcome.rejected[0].reason == "empty_mask"


def test_an_absent_target_passes_without_a_mask():
    assert fuse(draft(absent=True)).kept[0].mask is None
