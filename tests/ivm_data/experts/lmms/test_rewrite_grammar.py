import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.experts.lmms.rewrite_grammar import MAX_PHRASES, MAX_WORDS, RELATIONS, format_rewrite, parse_rewrite
from storage.records import Rewrite

NOUNS = st.lists(
    st.sampled_from(["small", "striped", "red", "ring", "star", "t-shirt", "car2"]), min_size=1, max_size=4
)
PHRASES = NOUNS.map(" ".join)


@st.composite
def rewrites(draw):
    phrases = tuple(draw(st.lists(PHRASES, min_size=1, max_size=3, unique=True)))
    relation = draw(st.sampled_from(["", *RELATIONS]))
    anchor = draw(PHRASES) if relation else ""
    return Rewrite(phrases, anchor, relation, draw(st.sampled_from(["one", "all"])))


@given(rewrites())
def test_what_is_written_is_read_back(rewrite):
    assert parse_rewrite(format_rewrite(rewrite)) == rewrite


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("find red ring and green star", Rewrite(("red ring", "green star"))),
        ("find star left of small blue square", Rewrite(("star",), "small blue square", "left of")),
        ("find all red star", Rewrite(("red star",), quantity="all")),
        ("Find the Star to the left of the small blue square.", Rewrite(("star",), "small blue square", "left of")),
        ("  find   a red ring\n", Rewrite(("red ring",))),
        ("find red ring and red ring", Rewrite(("red ring",))),
        ("find leftmost anchor", Rewrite(("leftmost anchor",))),
    ],
)
def test_a_well_formed_answer_is_read(answer, expected):
    assert parse_rewrite(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "find",
        "find ",
        "find all",
        "find and",
        "find red ring and",
        "find left of blue square",
        "find star above",
        "find star above ring below square",
        "find find star",
        "findstar",
        "the red ring",
        "I am sorry, I cannot find a ring",
        "find !!!",
        "find red ring, green star",
        "find " + "x " * (MAX_WORDS + 1),
        "find " + " and ".join(f"thing{i}" for i in range(MAX_PHRASES + 1)),
        "yes",
        "找到红色的圆环",
    ],
)
def test_garbage_names_no_phrase(answer):
    assert parse_rewrite(answer) == Rewrite(phrases=())


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(answer):
    rewrite = parse_rewrite(answer)
    assert all(phrase.strip() == phrase != "" for phrase in rewrite.phrases)
    assert bool(rewrite.relation) == bool(rewrite.anchor)
