import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.experts.lmms.request_line import MAX_TARGETS, MAX_WORDS, format_line, noun_of, split, things_in
from ivm_data.experts.lmms.request_reader import read_request
from storage.request import ALL, RELATIONS, Request, Thing

WORDS = st.lists(st.sampled_from(["small", "striped", "red"]), max_size=3)
PHRASES = st.builds(lambda words, noun: " ".join([*words, noun]), WORDS, st.sampled_from(["ring", "t-shirt", "car2"]))
ORDERS = ["left", "right", "top", "bottom", "largest", "smallest"]


@st.composite
def requests(draw):
    """What a line can hold: targets of different words, each with one relation, exceptions and alternatives."""
    things = []
    for phrase in draw(st.lists(PHRASES, min_size=1, max_size=3, unique=True)):
        target = len(things)
        count = draw(st.sampled_from([1, 1, ALL, 2, 9]))
        if count == 1 and draw(st.booleans()):
            order, rank = draw(st.sampled_from(ORDERS)), draw(st.integers(1, 9))
            words = format_line(Request((Thing(phrase, noun=phrase, order=order, rank=rank),))).removeprefix("find ")
            things.append(Thing(words, phrase, order=order, rank=rank))
        else:
            things.append(Thing(phrase, count=count))
        relation = draw(st.sampled_from(["", *RELATIONS]))
        anchors = draw(st.lists(PHRASES, min_size=2, max_size=2)) if relation == "between" else [draw(PHRASES)]
        things += [Thing(anchor, of=target, relation=relation) for anchor in anchors if relation]
        for other in ("except", "or"):
            if draw(st.booleans()):
                things.append(Thing(draw(PHRASES), of=target, relation=other))
    return Request(tuple(things))


@given(requests())
def test_what_is_written_is_read_back(request_):
    assert read_request(format_line(request_)).things == request_.things


@pytest.mark.parametrize("scope", ["whole image", "nothing"])
def test_a_scope_without_things_is_read_back(scope):
    assert read_request(format_line(Request(scope=scope))).scope == scope


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("find red ring and green star", Request.of(("red ring", "green star"))),
        ("find star left of small blue square", Request.of(("star",), "small blue square", "left of")),
        ("find all red star", Request.of(("red star",), quantity="all")),
        ("Find the Star to the left of the small blue square.", Request.of(("star",), "small blue square", "left of")),
        ("find star on the right-hand side of box", Request.of(("star",), "box", "right of")),
        ("find star that is above the box", Request.of(("star",), "box", "above")),
        ("  find   a red ring\n", Request.of(("red ring",))),
        ("find red ring and red ring", Request.of(("red ring",))),
        ("find ring, star and box", Request.of(("ring", "star", "box"))),
        ("find several stars", Request((Thing("stars", count=ALL),))),
        ("find lamp to the upper left of the bed", Request.of(("lamp",), "bed", "left of")),
        ("find first person from left", Request((Thing("first person from left", "person", order="left"),))),
        ("find three stars", Request((Thing("stars", count=3),))),
        ("find both cups", Request((Thing("cups", count=2),))),
        ("find second cup from the left", Request((Thing("second cup from the left", "cup", order="left", rank=2),))),
        ("find 3rd leftmost cup", Request((Thing("3rd leftmost cup", "cup", order="left", rank=3),))),
        ("find biggest dog", Request((Thing("biggest dog", "dog", order="largest"),))),
        ("find man in red shirt", Request((Thing("man in red shirt", "man"),))),
        ("find man not wearing a hat", Request((Thing("man not wearing hat", "man"),))),
        (
            "find all glasses except the blue one",
            Request((Thing("glasses", count=ALL), Thing("blue glasses", of=0, relation="except"))),
        ),
        ("find red star or blue ring", Request((Thing("red star"), Thing("blue ring", of=0, relation="or")))),
        (
            "find cup between the plate and the bowl, and fork",
            Request(
                (
                    Thing("cup"),
                    Thing("plate", of=0, relation="between"),
                    Thing("bowl", of=0, relation="between"),
                    Thing("fork"),
                )
            ),
        ),
        (
            "find person left of the dog and above the bench",
            Request(
                (
                    Thing("person"),
                    Thing("dog", of=0, relation="left of"),
                    Thing("bench", of=0, relation="above"),
                )
            ),
        ),
        (
            "find mug left of plate right of fork",
            Request(
                (
                    Thing("mug"),
                    Thing("plate", of=0, relation="left of"),
                    Thing("fork", of=1, relation="right of"),
                )
            ),
        ),
        ("find dog between two men", Request((Thing("dog between two men", "dog"),))),
        ("find black and white cat", Request.of(("black and white cat",))),
    ],
)
def test_a_line_is_read(line, expected):
    read = read_request(line)
    assert (read.things, read.scope) == (expected.things, "things")


@pytest.mark.parametrize(
    ("specs", "fault"),
    [
        (["left of blue square"], "without any word"),
        (["star above"], "ends within a phrase"),
        (["red ring and"], "ends within a phrase"),
        (["x " * (MAX_WORDS + 1)], "a sentence and no phrase"),
        ([f"thing{i}" for i in range(MAX_TARGETS + 1)], "9 targets"),
        (["!!!"], "without any word"),
    ],
)
def test_what_is_no_noun_phrase_says_so(specs, fault):
    with pytest.raises(ValueError, match=fault):
        things_in(specs)


def test_a_list_in_words_is_split_at_its_commas_and_conjunctions():
    assert split("knife, fork, and spoon; mug & bowl") == ["knife", "fork", "spoon", "mug", "bowl"]


def test_the_noun_of_an_expression_ends_at_its_first_preposition():
    assert noun_of("small dog under the table") == "small dog"
    assert noun_of("small dog") == ""
