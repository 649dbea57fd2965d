import numpy as np
import pytest

from ivm_data.worlds.relations import MARGIN, RELATIONS, lean, stands, stands_not
from storage.errors import ConfigError
from storage.records import Box

ANCHOR = Box(50, 50, 70, 70)
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def _at(x, y, half=5):
    return Box(x - half, y - half, x + half, y + half)


@pytest.mark.parametrize(
    ("x", "y", "relation"), [(20, 60, "left of"), (100, 70, "right of"), (50, 10, "above"), (65, 100, "below")]
)
def test_a_thing_on_the_axis_stands_in_exactly_that_relation(x, y, relation):
    assert [name for name in RELATIONS if stands(_at(x, y), name, ANCHOR)] == [relation]
    assert [name for name in RELATIONS if not stands_not(_at(x, y), name, ANCHOR)] == [relation]


def test_a_thing_on_the_diagonal_neither_stands_nor_clearly_does_not():
    for relation in ("left of", "above"):
        assert not stands(_at(30, 30), relation, ANCHOR)
        assert not stands_not(_at(30, 30), relation, ANCHOR)


def test_nothing_stands_in_a_relation_to_itself():
    assert not any(stands(ANCHOR, relation, ANCHOR) for relation in RELATIONS)


def test_at_most_one_relation_holds_and_its_opposite_holds_the_other_way_round():
    rng = np.random.default_rng(0)
    for x, y, u, v in rng.uniform(0, 128, (500, 4)):
        holding = [name for name in RELATIONS if stands(_at(x, y), name, _at(u, v))]
        assert len(holding) <= 1
        for name in RELATIONS:
            assert stands(_at(x, y), name, _at(u, v)) == stands(_at(u, v), OPPOSITE[name], _at(x, y))
            assert not (stands(_at(x, y), name, _at(u, v)) and stands_not(_at(x, y), name, _at(u, v)))


def test_the_margin_is_where_standing_begins():
    assert lean(_at(60 - MARGIN, 60), "left of", ANCHOR) == MARGIN
    assert stands(_at(60 - MARGIN, 60), "left of", ANCHOR)
    assert not stands(_at(60.5 - MARGIN, 60), "left of", ANCHOR)


def test_an_unknown_relation_is_named():
    with pytest.raises(ConfigError, match="'behind'"):
        stands(ANCHOR, "behind", ANCHOR)
