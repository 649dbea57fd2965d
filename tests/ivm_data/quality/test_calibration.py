import numpy as np
import pytest

from ivm_data.outputs import check
from ivm_data.quality.calibration import (
    MASK_FEATURES,
    Calibration,
    Logistic,
    expected_calibration_error,
)
from storage.errors import ConfigError, WeightsError
from storage.records import Scores


def made_up_scores(rng, count):
    """Scores of which only P(yes | kept) and the agreement tell right from wrong."""
    right = rng.random(count) < 0.6
    p_yes = 1 / (1 + np.exp(-rng.normal(np.where(right, 2, -2), 1.5)))
    agreement = np.clip(rng.normal(np.where(right, 0.8, 0.4), 0.2), 0, 1)
    noise = rng.random(count)
    return [
        Scores(p_yes_kept=p, agreement=a, grounding=n, area_ratio=0.1)
        for p, a, n in zip(p_yes, agreement, noise, strict=True)
    ], right.tolist()


@pytest.fixture(scope="module")
def fitted():
    return Logistic.fit(MASK_FEATURES, *made_up_scores(np.random.default_rng(0), 600))


def test_quality_on_new_rows_is_calibrated_and_ranks_right_above_wrong(fitted):
    scores, right = made_up_scores(np.random.default_rng(1), 2000)
    quality = np.array([fitted.probability(s) for s in scores])
    assert expected_calibration_error(quality, right) < 0.05
    assert quality[right].mean() - quality[~np.array(right)].mean() > 0.5


def test_a_score_that_nobody_gave_counts_as_the_mean(fitted):
    known = Scores(p_yes_kept=0.9, agreement=0.8, area_ratio=0.1)
    assert 0 < fitted.probability(Scores()) < 1
    assert fitted.probability(known) > fitted.probability(Scores())


def test_a_calibration_survives_its_file(fitted, tmp_path):
    calibration = Calibration(fitted, fitted, {"expert@1": fitted}, (600, 600))
    calibration.save(tmp_path / "c.json")
    check("calibrate", tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration


def test_rows_of_one_kind_cannot_be_calibrated_on():
    with pytest.raises(ConfigError, match="needs right and wrong human rows, got 3 rows, 3 of them right"):
        Logistic.fit(("grounding",), [Scores(grounding=0.5)] * 3, [True] * 3)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"mask": {}, "absent": {}, "rows": [1, 2]}'])
def test_an_unreadable_calibration_says_how_to_make_one(tmp_path, content):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WeightsError, match="ivm calibrate"):
        Calibration.load(path)


def test_ece_is_zero_for_perfect_confidence_and_one_for_certain_error():
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert expected_calibration_error([1.0, 0.0], [False, True]) == 1
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == 0
