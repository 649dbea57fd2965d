import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_model.data.subsets import balanced, evenly

SOURCES = np.array(["few"] * 2 + ["some"] * 3 + ["many"] * 15, object)
IDS = np.array([f"{i:02d}" for i in np.random.default_rng(0).permutation(20)], object)


@pytest.mark.parametrize(("limit", "expected"), [(6, (2, 2, 2)), (9, (2, 3, 4)), (10, (2, 3, 5)), (99, (2, 3, 15))])
def test_a_choice_takes_as_many_of_each_source_as_there_are(limit, expected):
    chosen = balanced(np.arange(20), IDS, SOURCES, limit)
    counts = dict(zip(*np.unique(SOURCES[chosen].astype(str), return_counts=True), strict=True))
    assert (counts["few"], counts["some"], counts["many"]) == expected and len(set(chosen)) == len(chosen)


@given(order=st.permutations(range(20)), limit=st.integers(0, 25))
def test_the_choice_does_not_depend_on_where_the_rows_lie(order, limit):
    order = np.array(order)
    for choose in (lambda ids, _: evenly(np.arange(20), ids, limit), lambda *k: balanced(np.arange(20), *k, limit)):
        chosen, turned = choose(IDS, SOURCES), choose(IDS[order], SOURCES[order])
        assert set(IDS[chosen]) == set(IDS[order][turned])
        assert len(chosen) <= limit and sorted(chosen) == chosen.tolist()


def test_nothing_can_be_chosen_from_nothing():
    assert balanced(np.arange(0), IDS, SOURCES, 5).tolist() == evenly(np.arange(0), IDS, 5).tolist() == []
