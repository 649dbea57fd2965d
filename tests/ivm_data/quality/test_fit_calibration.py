import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.outputs import check
from ivm_data.quality.calibration import Calibration
from ivm_data.quality.fit_calibration import calibrate, fit_logistic, lessons, reliability, teaching
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.gate import MASK_FEATURES
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import MISSING, Drawn, Rle, Scores
from storage.request import Request
from storage.tables import reviews
from storage.tables.reviews import Adjudication


def test_rows_of_one_kind_cannot_be_calibrated_on():
    with pytest.raises(ConfigError, match="needs right and wrong human rows, got 3 rows, 3 of them right"):
        fit_logistic(("grounding",), [Scores(grounding=0.5)] * 3, [True] * 3)


@pytest.fixture
def labels(build):
    """60 labels without a human mask; every third says "no target", and those of high P(yes) are right."""
    made, rng = [], np.random.default_rng(0)
    for seed in range(60):
        label = build.make_label(seed, image_seed=seed // 2)
        sure = seed % 2 == 0
        p = float(np.clip(rng.normal(0.8 if sure else 0.3, 0.15), 0.01, 0.99))
        scores = Scores(p_yes_kept=p, presence=1 - p, grounding=0.5, agreement=p, area_ratio=0.1, quality=0.5)
        sample = replace(label.sample, human_mask=None, held_out=False)
        label = replace(label, sample=sample, scores=scores, request=Request.of(("ring",)), human_iou=MISSING)
        if seed % 3 == 0:
            nothing = rle.encode(np.zeros((label.mask.height, label.mask.width), bool))
            label = replace(label, proposals=(), mask=nothing)
        made.append(label)
    return made


def told(labels, verdict, mask=None):
    return {(label.lineage.recipe, label.sample.id): Adjudication(verdict, mask) for label in labels}


def test_right_wrong_and_fixed_masks_are_truth_and_other_verdicts_are_not(labels):
    masks = [label for label in labels if label.proposals]
    far = rle.encode(~rle.decode(masks[2].mask))
    reviewed = told(masks[:1], "right") | told(masks[1:2], "wrong") | told(masks[2:3], "corrected", far)
    reviewed |= told(masks[3:4], "wrong_instruction") | told(masks[4:5], "corrected", masks[4].mask)
    found = lessons(labels, reviewed)
    assert found.by == {"right": 1, "wrong": 1, "fixed": 2}
    assert found.masks.right == [True, False, False, True]
    assert all(len(rows.right) == 3 for rows in found.proposers.values())


def test_a_label_that_says_no_target_is_right_where_the_fixed_mask_is_empty(labels):
    absences = [label for label in labels if not label.proposals]
    ring = Rle(absences[0].mask.height, absences[0].mask.width, labels[1].mask.counts)
    reviewed = told(absences[:1], "corrected", ring) | told(absences[1:2], "corrected", absences[1].mask)
    assert lessons(labels, reviewed).absences.right == [False, True]


def test_what_reviewers_found_outweighs_the_mask_that_came_along(labels):
    masks = [label for label in labels if label.proposals][:4]
    shifted = rle.encode(~rle.decode(masks[0].mask))
    given = [replace(one, sample=replace(one.sample, human_mask=shifted), human_iou=0.0) for one in masks]
    assert lessons(given).masks.right == [False] * 4
    reviewed = told(given[:1], "right") | told(given[1:2], "corrected", given[1].mask) | told(given[2:3], "wrong")
    found = lessons(given, reviewed | told(given[3:], "wrong_instruction"))
    assert found.by == {"right": 1, "fixed": 1, "wrong": 1}
    assert found.masks.right == [True, True, False]


def test_absences_that_are_too_few_to_fit_give_the_share_that_is_right_with_one_more_of_each(labels):
    masks, absences = ([one for one in labels if bool(one.proposals) == has] for has in (True, False))
    known = told(masks[::2], "right") | told(masks[1::2], "wrong")
    for right, wrong in ((0, 0), (3, 0), (0, 3), (4, 9)):
        reviewed = told(absences[:right], "right") | told(absences[right : right + wrong], "wrong")
        found = calibrate(labels, known | reviewed)
        for presence in (0.1, 0.9):
            assert found.absent.probability(Scores(presence=presence)) == pytest.approx(
                (right + 1) / (right + wrong + 2)
            )
    enough = calibrate(labels, known | told(absences[:6], "right") | told(absences[6:12], "wrong"))
    assert any(enough.absent.weight)


def test_what_judges_does_not_teach(labels, tmp_path, build):
    held = replace(labels[1], sample=replace(labels[1].sample, human_mask=labels[1].mask, held_out=True), human_iou=1.0)
    assert not lessons([held]).by
    commit_part(tmp_path, replace(build.make_part(rows=0), outcomes=tuple(labels)))
    for label, drawn in zip(labels, (Drawn("random"), Drawn("informative"), None), strict=False):
        reviews.append(tmp_path, build.RECIPE, label.sample.id, "ada", "right", drawn=drawn)
    with DataSet.open(tmp_path) as opened:
        assert {name for _, name in teaching(opened)} == {labels[1].sample.id, labels[2].sample.id}


def test_too_few_are_refused_with_the_number_that_is_missing(labels):
    masks = [label for label in labels if label.proposals]
    with pytest.raises(ConfigError, match=r"of masks .* got 7 and 2: 3 more wrong are missing; .*ivm review"):
        calibrate(labels, told(masks[:7], "right") | told(masks[7:9], "wrong"))
    with pytest.raises(ConfigError, match="got 0 and 0: 5 more right and 5 more wrong"):
        calibrate(labels)


def test_the_reliability_is_that_of_labels_whose_images_a_fit_did_not_see():
    rng = np.random.default_rng(1)
    found = lessons([])
    for i in range(300):
        right = bool(rng.random() < 0.5)
        found.masks.add(Scores(p_yes_kept=float(np.clip(rng.normal(0.7 if right else 0.4, 0.2), 0, 1))), right, str(i))
    seen = reliability(MASK_FEATURES, found.masks)
    assert 0.75 < seen.auc < 0.95 and seen.ece < 0.12
    assert sum(each.labels for each in seen.bins) == seen.labels == 300
    for i in range(300):  # an image that alone says what is right cannot be learned from
        found.absences.add(Scores(presence=rng.random()), i % 2 == 0, str(i % 2))
    assert not reliability(("presence",), found.absences).auc > 0.6
    assert math.isnan(reliability(MASK_FEATURES, lessons([]).masks).auc)


def test_the_command_learns_from_reviews_alone_and_says_from_what(labels, tmp_path, build):
    data, out, plot = tmp_path / "data", tmp_path / "mine.json", tmp_path / "mine.svg"
    commit_part(data, replace(build.make_part(rows=0), outcomes=tuple(labels)))
    for seed, label in enumerate(labels):
        reviews.append(data, build.RECIPE, label.sample.id, "ada", "right" if seed % 2 == 0 else "wrong")
    words = ["calibrate", "--data", str(data), "--out", str(out), "--plot", str(plot)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "fitted on 40 masks and 20 absences" in result.output and "AUC" in result.output
    found = Calibration.load(out)
    good, bad = (Scores(p_yes_kept=p, agreement=p, area_ratio=0.1) for p in (0.9, 0.2))
    assert found.quality(good, absent=False) > 0.8 > 0.4 > found.quality(bad, absent=False)
    check("figure", plot)
