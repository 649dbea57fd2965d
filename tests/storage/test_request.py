import pytest

from storage.request import ALL, Request, Thing


@pytest.mark.parametrize(
    ("things", "fault"),
    [
        ([Thing(" ")], "no words"),
        ([Thing("star", of=0, relation="left of")], "earlier thing"),
        ([Thing("star"), Thing("box", of=1, relation="left of")], "earlier thing"),
        ([Thing("star"), Thing("box", of=0)], "have a relation"),
        ([Thing("star", relation="left of")], "have a relation"),
        ([Thing("star", count=-1)], "out of range"),
        ([Thing("star", rank=0)], "out of range"),
        ([Thing("star", order="middle")], "out of range"),
    ],
)
def test_things_that_do_not_hold_together_are_refused(things, fault):
    with pytest.raises(ValueError, match=fault):
        Request(tuple(things))


def test_a_whole_image_has_no_things():
    assert Request(scope="whole image").phrases == ()
    with pytest.raises(ValueError, match="scope"):
        Request((Thing("star"),), "whole image")


def test_what_is_searched_for_and_what_only_describes():
    request = Request(
        (
            Thing("second star from left", "star", order="left", rank=2),
            Thing("red box", "box", of=0, relation="left of"),
            Thing("cup", of=0, relation="or"),
            Thing("dotted star", "star", of=0, relation="except"),
        )
    )
    assert request.targets == (0,)
    assert request.options(0) == (0, 2)
    assert request.phrases == ("star", "cup")
    assert request.described_by == ("red box", "dotted star")
    assert (request.relation, request.anchor, request.quantity) == ("left of", "red box", "one")


def test_the_short_form_holds_what_it_was_made_of():
    request = Request.of(("ring", "star"), "box", "above", "all")
    assert [thing.count for thing in request.things if thing.of < 0] == [ALL, ALL]
    assert (request.phrases, request.anchor, request.relation, request.quantity) == (
        ("ring", "star"),
        "box",
        "above",
        "all",
    )


def test_between_has_two_anchors_in_one_text():
    things = (Thing("star"), Thing("box", of=0, relation="between"), Thing("cup", of=0, relation="between"))
    assert Request(things).anchor == "box and cup"
