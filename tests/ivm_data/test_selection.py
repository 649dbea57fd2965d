import math

import pytest

from ivm_data.selection import ChooseConfig, choose, relation_fit, support
from storage.errors import ConfigError
from storage.records import Box, Candidate, Rewrite

LEFT, RIGHT, FAR_RIGHT = Box(0, 40, 20, 60), Box(60, 40, 80, 60), Box(100, 40, 120, 60)


def candidate(box, score, phrase="star", role="target", p_yes=math.nan):
    return Candidate("test@0", phrase, role, box, score, p_yes)


def chosen_boxes(candidates, rewrite, **config):
    return [c.box for c in choose(candidates, rewrite, ChooseConfig(**config)).chosen]


def test_the_best_supported_box_is_chosen_and_the_margin_is_its_lead():
    choice = choose([candidate(LEFT, 0.9), candidate(RIGHT, 0.4)], Rewrite(("star",)), ChooseConfig())
    assert [c.box for c in choice.chosen] == [LEFT]
    assert choice.margin == pytest.approx(0.5)


def test_the_verifier_can_overrule_the_grounder():
    assert chosen_boxes([candidate(LEFT, 0.9, p_yes=0.1), candidate(RIGHT, 0.5, p_yes=0.9)], Rewrite(("star",))) == [
        RIGHT
    ]


def test_a_relation_selects_among_equal_candidates():
    anchor = candidate(RIGHT, 0.9, "square", "anchor")
    stars = [candidate(LEFT, 0.8), candidate(FAR_RIGHT, 0.8)]
    assert chosen_boxes([*stars, anchor], Rewrite(("star",), "square", "left of")) == [LEFT]
    assert chosen_boxes([*stars, anchor], Rewrite(("star",), "square", "right of")) == [FAR_RIGHT]


def test_all_takes_every_supported_box_and_none_below_the_line():
    found = [candidate(LEFT, 0.9), candidate(RIGHT, 0.5), candidate(FAR_RIGHT, 0.1)]
    assert chosen_boxes(found, Rewrite(("star",), quantity="all"), min_support=0.3) == [LEFT, RIGHT]


def test_two_phrases_never_take_the_same_object():
    found = [candidate(LEFT, 0.9, "star"), candidate(LEFT, 0.8, "ring"), candidate(RIGHT, 0.3, "ring")]
    assert chosen_boxes(found, Rewrite(("star", "ring"))) == [LEFT, RIGHT]


def test_no_candidates_choose_nothing():
    assert choose([], Rewrite(("star",)), ChooseConfig()).chosen == []


def test_relation_fit_is_one_along_the_axis_and_zero_behind_across_or_on_the_anchor():
    assert relation_fit(LEFT, "left of", RIGHT) == pytest.approx(1)
    assert relation_fit(LEFT, "right of", RIGHT) == 0
    assert relation_fit(LEFT, "above", RIGHT) == 0
    assert relation_fit(LEFT, "left of", LEFT) == 0


def test_support_ignores_scores_that_nobody_gave():
    assert support(candidate(LEFT, 0.81)) == pytest.approx(0.81)
    assert support(candidate(LEFT, 0.81, p_yes=0.01)) == pytest.approx(0.09)


def test_a_share_outside_zero_to_one_is_refused_with_the_value_seen():
    with pytest.raises(ConfigError, match=r"'min_support' must lie in \[0, 1\], got 2"):
        ChooseConfig(min_support=2)
