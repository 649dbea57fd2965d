import numpy as np
import pytest

from ivm_model.metrics.evaluation import evaluate, evaluate_labels
from storage.pixels import rle


def test_a_predictor_that_knows_the_truth_scores_one(rows):
    truth = {row.instruction + str(i): rle.decode(row.truth) for i, row in enumerate(rows.test)}
    answers = iter(truth.values())
    result = evaluate(lambda images, instructions: [next(answers) for _ in images], rows.test)
    assert result.overall.giou == result.overall.ciou == 1.0
    assert set(result.by_kind) == {"attribute"} and len(result.iou_N) == len(rows.test)


def test_heatmaps_are_cut_at_the_threshold(rows):
    heatmaps = {id(row): np.where(rle.decode(row.truth), 0.6, 0.4).astype(np.float32) for row in rows.test}

    def answers():
        values = iter(heatmaps.values())
        return lambda images, instructions: [next(values) for _ in images]

    assert evaluate(answers(), rows.test).overall.giou == 1.0


def test_the_engines_labels_are_scored_on_the_same_rows(rows):
    expected = np.mean([rle.iou(row.mask, row.truth) for row in rows.test])
    assert evaluate_labels(rows.test).overall.giou == pytest.approx(expected)


def test_a_row_without_truth_cannot_be_scored(rows):
    with pytest.raises(ValueError, match="no held-out truth"):
        evaluate_labels(rows.human[:1])
