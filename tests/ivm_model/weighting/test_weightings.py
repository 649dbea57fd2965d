import numpy as np
import pytest

from ivm_model.weighting.weightings import NEEDS_WARMUP, WEIGHTINGS, Signals, check_loss, get_weighting
from storage.errors import ConfigError

D_N = np.linspace(0.01, 0.99, 50)


def _signals(**fields) -> Signals:
    return Signals(count=50, **fields)


def _full() -> Signals:
    return _signals(
        d_N=D_N,
        d_loss="nnpu",
        verification_N=D_N,
        quality_N=D_N,
        accepted_N=D_N > 0.5,
        measured_iou_N=D_N,
        peer_loss_N=1 - D_N,
        peer_fold_N=np.zeros(50, int),
        noise=0.4,
        truth_iou_N=D_N,
    )


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_every_weighting_gives_a_finite_weight_that_never_falls_with_the_signals(name):
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


@pytest.mark.parametrize(("name", "signal"), [("dwbc_ratio", "d_N"), ("verification_ratio", "verification_N")])
def test_the_ratio_keeps_the_mean_of_masks_and_of_no_target_apart(name, signal):
    empty_N = np.arange(50) % 5 == 0
    weight_N = WEIGHTINGS[name](_signals(empty_N=empty_N, **{signal: np.where(empty_N, D_N / 2 + 0.3, D_N)}))
    assert weight_N[empty_N].mean() == pytest.approx(1) and weight_N[~empty_N].mean() == pytest.approx(1)


def test_the_ratio_is_all_zero_where_nothing_looks_human():
    assert not WEIGHTINGS["dwbc_ratio"](_signals(d_N=np.full(50, 0.2))).any()


def test_the_ratio_of_the_verification_score_has_the_form_of_the_discriminators():
    np.testing.assert_array_equal(
        WEIGHTINGS["verification_ratio"](_signals(verification_N=D_N)), WEIGHTINGS["dwbc_ratio"](_signals(d_N=D_N))
    )


def test_the_oracle_splits_at_half_overlap():
    np.testing.assert_array_equal(WEIGHTINGS["oracle"](_full()), (D_N >= 0.5).astype(np.float32))


@pytest.mark.parametrize("name", sorted(NEEDS_WARMUP))
def test_a_weighting_refuses_to_run_before_its_judges_have_spoken(name):
    with pytest.raises(ConfigError, match="50 of 50"):
        WEIGHTINGS[name](_signals(d_loss="nnpu"))


def test_fixed_counts_five_machine_labels_as_one_human_label():
    np.testing.assert_array_equal(WEIGHTINGS["fixed"](_signals()), np.full(50, 0.2, np.float32))


def test_nnpu_takes_d_as_it_is_and_only_from_a_d_that_learned_with_that_loss():
    np.testing.assert_allclose(WEIGHTINGS["nnpu"](_full()), D_N, rtol=1e-6)
    with pytest.raises(ConfigError, match="'bce'"):
        WEIGHTINGS["nnpu"](_signals(d_N=D_N, d_loss="bce"))
    with pytest.raises(ConfigError, match=r"discriminator\.loss nnpu"):
        check_loss("nnpu", "pu")
    check_loss("clip_sigmoid", "pu")


def test_self_paced_keeps_what_the_measurer_overlaps_by_more_than_half():
    measured_iou_N = np.array([0.2, 0.5, 0.51, 1.0])
    weight_N = WEIGHTINGS["self_paced"](Signals(4, measured_iou_N=measured_iou_N))
    np.testing.assert_array_equal(weight_N, [0, 0, 1, 1])


def test_self_paced_says_nothing_of_statements_that_there_is_no_target():
    weight_N = WEIGHTINGS["self_paced"](Signals(2, measured_iou_N=np.zeros(2), empty_N=np.array([False, True])))
    np.testing.assert_array_equal(weight_N, [0, 1])


def test_co_teaching_ranks_statements_that_there_is_no_target_by_themselves():
    loss_N, empty_N = np.array([1, 2, 3, 4, 10, 20, 30, 40.0]), np.repeat([False, True], 4)
    signals = Signals(8, peer_loss_N=loss_N, peer_fold_N=np.zeros(8, int), noise=0.25, empty_N=empty_N)
    np.testing.assert_array_equal(WEIGHTINGS["co_teaching"](signals), [1, 1, 1, 0, 1, 1, 1, 0])


def test_co_teaching_keeps_the_small_losses_of_each_half_by_its_own_scale():
    signals = Signals(
        8, peer_loss_N=np.array([1, 2, 3, 4, 10, 20, 30, 40.0]), peer_fold_N=np.repeat([0, 1], 4), noise=0.25
    )
    np.testing.assert_array_equal(WEIGHTINGS["co_teaching"](signals), [1, 1, 1, 0, 1, 1, 1, 0])


def test_co_teaching_must_know_how_many_labels_are_wrong():
    with pytest.raises(ConfigError, match="human rows"):
        WEIGHTINGS["co_teaching"](Signals(2, peer_loss_N=np.ones(2), peer_fold_N=np.array([0, 1])))


def test_a_missing_verification_score_is_named():
    verification_N = np.where(np.arange(50) < 3, np.nan, 0.5)
    with pytest.raises(ConfigError, match="3 of 50"):
        WEIGHTINGS["verification"](_signals(verification_N=verification_N))


def test_an_unknown_weighting_lists_the_known_ones():
    with pytest.raises(ConfigError, match="clip_sigmoid"):
        get_weighting("clip")
