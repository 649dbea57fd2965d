import math

import pytest

from ivm_data.selection import ChooseConfig, choose, likelihood, relation_fit, support
from storage.errors import ConfigError
from storage.records import Box, Candidate
from storage.request import ALL, Request, Thing

LEFT, RIGHT, FAR_RIGHT = Box(0, 40, 20, 60), Box(60, 40, 80, 60), Box(100, 40, 120, 60)


def candidate(box, score, phrase="star", role="target", p_yes=math.nan):
    return Candidate("test@0", phrase, role, box, score, p_yes)


def chosen_boxes(candidates, rewrite, **config):
    return [c.box for c in choose(candidates, rewrite, ChooseConfig(**config)).chosen]


def test_the_best_supported_box_is_chosen_and_the_margin_is_its_lead():
    choice = choose([candidate(LEFT, 0.9), candidate(RIGHT, 0.4)], Request.of(("star",)), ChooseConfig())
    assert [c.box for c in choice.chosen] == [LEFT]
    assert choice.margin == pytest.approx(0.5)


def test_the_verifier_can_overrule_the_grounder():
    assert chosen_boxes([candidate(LEFT, 0.9, p_yes=0.1), candidate(RIGHT, 0.5, p_yes=0.9)], Request.of(("star",))) == [
        RIGHT
    ]


def test_a_relation_selects_among_equal_candidates():
    anchor = candidate(RIGHT, 0.9, "square", "anchor")
    stars = [candidate(LEFT, 0.8), candidate(FAR_RIGHT, 0.8)]
    assert chosen_boxes([*stars, anchor], Request.of(("star",), "square", "left of")) == [LEFT]
    assert chosen_boxes([*stars, anchor], Request.of(("star",), "square", "right of")) == [FAR_RIGHT]


def test_all_takes_every_supported_box_and_none_below_the_line():
    found = [candidate(LEFT, 0.9), candidate(RIGHT, 0.5), candidate(FAR_RIGHT, 0.1)]
    assert chosen_boxes(found, Request.of(("star",), quantity="all"), min_support=0.3) == [LEFT, RIGHT]


def test_two_phrases_never_take_the_same_object():
    found = [candidate(LEFT, 0.9, "star"), candidate(LEFT, 0.8, "ring"), candidate(RIGHT, 0.3, "ring")]
    assert chosen_boxes(found, Request.of(("star", "ring"))) == [LEFT, RIGHT]


def test_no_candidates_choose_nothing():
    assert choose([], Request.of(("star",)), ChooseConfig()).chosen == []


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


ROW = [Box(x, 40, x + 20, 60) for x in (0, 40, 80, 120)]
SMALL, BIG = Box(0, 0, 10, 10), Box(40, 0, 80, 40)


def stars(*boxes, score=0.9):
    return [candidate(box, score) for box in boxes]


def star(**fields):
    return Request((Thing("star", noun="star", **fields),))


def test_things_are_counted_from_a_side():
    assert chosen_boxes(stars(*ROW[::-1]), star(order="left", rank=2)) == [ROW[1]]
    assert chosen_boxes(stars(*ROW), star(order="right")) == [ROW[3]]
    assert chosen_boxes(stars(BIG, SMALL), star(order="largest")) == [BIG]
    assert chosen_boxes(stars(BIG, SMALL), star(order="smallest")) == [SMALL]


def test_a_box_without_support_is_not_counted():
    found = [candidate(ROW[0], 0.9, p_yes=0.1), *(candidate(box, 0.9, p_yes=0.9) for box in ROW[1:])]
    assert chosen_boxes(found, star(order="left")) == [ROW[1]]


def test_a_place_in_an_order_is_as_sure_as_what_lies_ahead_of_it():
    """P(no star lies ahead), and P(exactly one does), where those ahead are stars with 0.9 and with 0.2."""
    found = [candidate(ROW[0], 0.9), candidate(ROW[1], 0.2), candidate(ROW[2], 0.8)]
    (first,) = choose(found, star(order="left"), ChooseConfig()).chosen
    assert (first.box, first.relation) == (ROW[0], 1.0)
    (second,) = choose(found, star(order="left", rank=2), ChooseConfig()).chosen
    assert (second.box, second.relation) == (ROW[2], pytest.approx(0.9 * 0.8 + 0.1 * 0.2))


def test_an_unsure_grounder_and_a_sure_verifier_count_a_thing():
    found = [candidate(ROW[0], 0.35, p_yes=0.99), candidate(ROW[1], 0.9, p_yes=0.99)]
    assert chosen_boxes(found, star(order="left")) == [ROW[0]]


def test_two_witnesses_are_worth_more_than_one_and_one_that_is_missing_says_nothing():
    assert likelihood(candidate(LEFT, 0.8, p_yes=0.8)) == pytest.approx(16 / 17)
    assert likelihood(candidate(LEFT, 0.8, p_yes=0.2)) == pytest.approx(0.5)
    assert likelihood(candidate(LEFT, 0.8)) == pytest.approx(0.8)
    assert 0 < likelihood(candidate(LEFT, 1.0, p_yes=0.0)) < 1


def test_the_anchor_is_the_one_that_the_target_fits_best_where_several_could_be_meant():
    """Of two boxes, nearly as sure, only the second has a star left of it."""
    request = Request.of(("star",), "box", "left of")
    boxes = [candidate(ROW[0], 0.9, "box", "anchor"), candidate(ROW[2], 0.8, "box", "anchor")]
    choice = choose([*stars(ROW[1]), *boxes], request, ChooseConfig())
    assert [(c.box, c.role) for c in choice.candidates if c.chosen] == [(ROW[1], "target"), (ROW[2], "anchor")]
    assert choice.chosen[0].relation == pytest.approx(8 / 9)


def test_two_boxes_of_one_object_are_counted_once():
    assert chosen_boxes(stars(ROW[0], Box(1, 41, 21, 61), ROW[1], ROW[2]), star(order="left", rank=2)) == [ROW[1]]


def test_a_number_takes_as_many_and_its_margin_is_the_lead_of_the_last():
    found = [candidate(box, score) for box, score in zip(ROW, (0.9, 0.8, 0.7, 0.2), strict=True)]
    choice = choose(found, star(count=3), ChooseConfig())
    assert [c.box for c in choice.chosen] == ROW[:3]
    assert choice.margin == pytest.approx(0.5)


def test_what_stands_between_two_anchors_is_chosen():
    request = Request((Thing("star"), Thing("box", of=0, relation="between"), Thing("cup", of=0, relation="between")))
    anchors = [candidate(ROW[1], 0.9, "box", "anchor"), candidate(ROW[3], 0.9, "cup", "anchor")]
    assert chosen_boxes([*stars(ROW[0], ROW[2]), *anchors], request) == [ROW[2]]


@pytest.mark.parametrize(("relation", "index"), [("nearest to", 1), ("farthest from", 3)])
def test_distance_to_an_anchor_decides(relation, index):
    request = Request((Thing("star"), Thing("box", of=0, relation=relation)))
    assert chosen_boxes([*stars(*ROW[1:]), candidate(ROW[0], 0.9, "box", "anchor")], request) == [ROW[index]]


def test_an_exception_is_left_out():
    request = Request((Thing("star", count=ALL), Thing("red star", of=0, relation="except")))
    found = [*stars(*ROW), candidate(ROW[1], 0.9, "red star", "anchor"), candidate(ROW[2], 0.2, "red star", "anchor")]
    assert chosen_boxes(found, request) == [ROW[0], ROW[2], ROW[3]]


def test_where_everything_is_excepted_the_least_likely_exception_is_kept_for_the_gate_to_judge():
    request = Request((Thing("star"), Thing("red star", of=0, relation="except")))
    red = [candidate(box, score, "red star", "anchor") for box, score in zip(ROW, (0.9, 0.7), strict=False)]
    choice = choose([*stars(*ROW[:2]), *red], request, ChooseConfig())
    assert [(c.box, c.relation) for c in choice.chosen] == [(ROW[1], pytest.approx(0.3))]


def test_an_alternative_is_taken_where_it_has_more_support():
    request = Request((Thing("star"), Thing("cup", of=0, relation="or")))
    found = [candidate(ROW[0], 0.3), candidate(ROW[1], 0.9, "cup")]
    assert chosen_boxes(found, request) == [ROW[1]]


def test_an_anchor_has_relations_of_its_own():
    things = (Thing("star"), Thing("box", of=0, relation="left of"), Thing("cup", of=1, relation="above"))
    upper, lower, cup = Box(60, 0, 80, 20), Box(60, 80, 80, 100), Box(60, 40, 80, 60)
    found = [*stars(Box(0, 0, 20, 20), Box(0, 80, 20, 100))]
    found += [candidate(box, 0.9, "box", "anchor") for box in (lower, upper)] + [candidate(cup, 0.9, "cup", "anchor")]
    choice = choose(found, Request(things), ChooseConfig())
    assert [c.box for c in choice.chosen] == [Box(0, 0, 20, 20)]
    assert {c.box for c in choice.candidates if c.chosen and c.role == "anchor"} == {upper, cup}


def test_two_targets_of_the_same_words_fit_their_own_relations():
    things = (
        Thing("star"),
        Thing("star"),
        Thing("box", of=0, relation="left of"),
        Thing("box", of=1, relation="right of"),
    )
    found = [*stars(ROW[0], ROW[2]), candidate(ROW[1], 0.9, "box", "anchor")]
    choice = choose(found, Request(things), ChooseConfig())
    assert [c.box for c in choice.chosen] == [ROW[0], ROW[2]]
    assert [c.relation for c in choice.chosen] == [pytest.approx(1), pytest.approx(1)]


def test_all_that_match_stand_in_the_relation():
    request = Request.of(("star",), "box", "left of", "all")
    found = [*stars(ROW[0], ROW[1], ROW[3]), candidate(ROW[2], 0.9, "box", "anchor")]
    assert chosen_boxes(found, request) == ROW[:2]


def test_where_nothing_stands_in_the_relation_the_best_box_is_kept_for_the_gate_to_judge():
    anchor = candidate(ROW[0], 0.9, "box", "anchor")
    assert chosen_boxes([*stars(ROW[1]), anchor], Request.of(("star",), "box", "left of")) == [ROW[1]]
