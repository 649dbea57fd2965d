import numpy as np
import pytest

from ivm_data.quality.drift import compare, drift
from storage.data_set import DataSet
from storage.parts.shards import commit_part


def test_equal_shares_do_not_drift_and_a_known_shift_has_its_known_index():
    assert compare("x", np.array([500, 500]), np.array([500, 500])).psi == 0
    found = compare("x", np.array([50_000, 50_000]), np.array([80_000, 20_000]))
    known = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert found.psi == pytest.approx(known, abs=1e-3) and found.interval[0] < known < found.interval[1]
    assert found.verdict == "large"


def test_without_drift_one_case_in_a_hundred_exceeds_the_noise():
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    cases = [compare("x", rng.multinomial(400, share), rng.multinomial(600, share)) for _ in range(200)]
    assert sum(case.verdict != "noise" for case in cases) <= 8


def test_an_empty_bin_keeps_the_index_finite_and_no_rows_are_no_drift():
    assert np.isfinite(compare("x", np.array([0, 100]), np.array([100, 0])).psi)
    assert compare("x", np.array([0, 0]), np.array([5, 5])).verdict == "same"


def test_a_new_source_shows_up_between_two_snapshots(tmp_path, build):
    commit_part(tmp_path, build.make_part("a", 40))
    before = DataSet.open(tmp_path).freeze()
    part = build.make_part("b", 0)
    new = tuple(build.make_label(seed, source="robots") for seed in range(100, 140))
    commit_part(tmp_path, build.PartResult("b", part.recipe, new))
    found = {one.what: one for one in drift(tmp_path, before.name, DataSet.open(tmp_path).freeze().name)}
    assert found["source"].verdict == "large" and found["verification"].verdict == "noise"
    assert found["presence"].verdict == "same"
    assert all(one.interval[0] <= one.interval[1] for one in found.values())
