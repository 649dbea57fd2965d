import numpy as np
import pytest

from ivm_model.weighting import NEEDS_DISCRIMINATOR, WEIGHTINGS, Evidence, get_weighting
from storage.errors import ConfigError

D_N = np.linspace(0.01, 0.99, 50)


def _evidence(**fields) -> Evidence:
    return Evidence(count=50, **fields)


def _full() -> Evidence:
    return _evidence(d_N=D_N, verification_N=D_N, quality_N=D_N, accepted_N=D_N > 0.5, truth_iou_N=D_N)


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_every_weighting_gives_a_finite_weight_that_never_falls_with_the_evidence(name):
    weight_N = WEIGHTINGS[name](_full())
    assert weight_N.shape == (50,) and weight_N.dtype == np.float32
    assert np.isfinite(weight_N).all() and (weight_N >= 0).all()
    assert (np.diff(weight_N) >= 0).all()


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_every_weighting_says_what_it_does(name):
    assert WEIGHTINGS[name].__doc__


def test_clip_sigmoid_stays_between_a_tenth_and_nine_tenths():
    weight_N = WEIGHTINGS["clip_sigmoid"](_full())
    assert weight_N.min() == pytest.approx(0.1) and weight_N.max() == pytest.approx(0.9)


def test_the_ratio_forgets_what_looks_more_machine_than_human_and_keeps_the_mean():
    weight_N = WEIGHTINGS["dwbc_ratio"](_full())
    assert (weight_N[D_N < 0.5] == 0).all() and (weight_N[D_N > 0.5] > 0).all()
    assert weight_N.mean() == pytest.approx(1.0, rel=1e-5)


def test_the_ratio_is_all_zero_where_nothing_looks_human():
    assert not WEIGHTINGS["dwbc_ratio"](_evidence(d_N=np.full(50, 0.2))).any()


def test_the_oracle_splits_at_half_overlap():
    np.testing.assert_array_equal(WEIGHTINGS["oracle"](_full()), (D_N >= 0.5).astype(np.float32))


@pytest.mark.parametrize("name", sorted(NEEDS_DISCRIMINATOR))
def test_a_weighting_by_d_refuses_to_run_before_stage_one(name):
    with pytest.raises(ConfigError, match="50 of 50"):
        WEIGHTINGS[name](_evidence())


def test_a_missing_verification_score_is_named():
    verification_N = np.where(np.arange(50) < 3, np.nan, 0.5)
    with pytest.raises(ConfigError, match="3 of 50"):
        WEIGHTINGS["verification"](_evidence(verification_N=verification_N))


def test_an_unknown_weighting_lists_the_known_ones():
    with pytest.raises(ConfigError, match="clip_sigmoid"):
        get_weighting("clip")
