import json
import math

import numpy as np
import pytest

from ivm_data.engine.pipeline import Pipeline
from ivm_data.outputs import check
from ivm_data.quality.calibration import (
    MASK_FEATURES,
    VOTE_FEATURES,
    Calibration,
    Logistic,
    expected_calibration_error,
)
from ivm_data.quality.fit_calibration import fit_logistic
from ivm_data.recipes.labeling_recipes import recipe
from storage.errors import WeightsError
from storage.records import Proposal, Rle, Scores


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
    return fit_logistic(MASK_FEATURES, *made_up_scores(np.random.default_rng(0), 600))


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
    support = fit_logistic(VOTE_FEATURES, [Proposal("e", Rle(1, 1, b""), 1, s) for s in (0.1, 0.9)], [False, True])
    calibration = Calibration(fitted, fitted_for_absences(fitted), {"expert@1": support}, (600, 600))
    calibration.save(tmp_path / "c.json")
    check("calibrate", tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration


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


def written(path, fitted, **changes):
    """A calibration's file with some values of its mask's regression replaced."""
    Calibration(fitted, fitted_for_absences(fitted), {}, (600, 600)).save(path)
    raw = json.loads(path.read_text())
    raw["mask"] |= changes
    path.write_text(json.dumps(raw))
    return path


def fitted_for_absences(fitted):
    return Logistic(("presence",), fitted.mean[:1], fitted.scale[:1], fitted.weight[:1], fitted.bias)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bias": math.nan}, "'bias' must be finite"),
        ({"weight": [math.inf] * len(MASK_FEATURES)}, "'weight' must be finite"),
        ({"mean": ["x"] * len(MASK_FEATURES)}, "could not convert"),
        ({"mean": [None] * len(MASK_FEATURES)}, "float"),
        ({"scale": [0.0] * len(MASK_FEATURES)}, "'scale' positive"),
        ({"scale": [1.0] * 10}, f"'scale' has 10 numbers for {len(MASK_FEATURES)} features"),
        ({"features": ["sharpness", *MASK_FEATURES[1:]]}, r"\['sharpness'\] among its features"),
        ({"features": ["quality", *MASK_FEATURES[1:]]}, r"\['quality'\] among its features"),
        ({"features": ["presence"] * len(MASK_FEATURES)}, "may be there once"),
        ({"features": 7}, "not iterable"),
        ({"bias": 10**400}, "OverflowError"),
    ],
)
def test_a_calibration_that_could_give_a_quality_that_is_no_number_is_refused_with_the_reason(
    fitted, tmp_path, changes, why
):
    with pytest.raises(WeightsError, match=f"{why}.*ivm calibrate") as caught:
        Calibration.load(written(tmp_path / "c.json", fitted, **changes))
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="cannot be used"):
        Pipeline(recipe("demo", {"calibration": str(tmp_path / "c.json")}))


def test_a_calibration_that_knows_fewer_features_still_calibrates(fitted, tmp_path):
    fewer = {name: getattr(fitted, name)[:3] for name in ("features", "mean", "scale", "weight")}
    loaded = Calibration.load(written(tmp_path / "c.json", fitted, **fewer))
    assert 0 < loaded.quality(Scores(presence=0.9), False) < 1


def test_a_folder_bytes_or_a_nest_of_brackets_is_no_calibration(tmp_path):
    for content in (b"\xff\xfe\x00", b"[" * 100_000, b" " * (2 << 20), b'{"proposers": []}'):
        (tmp_path / "c.json").write_bytes(content)
        with pytest.raises(WeightsError, match="ivm calibrate"):
            Calibration.load(tmp_path / "c.json")
    with pytest.raises(WeightsError, match="IsADirectoryError"):
        Calibration.load(tmp_path)
