import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.experts.lmms.box_answers import MAX_BOXES, read_boxes
from storage.records import Box

FORMS = ("qwen2.5", "qwen3", "normalised")
UNITS = {"qwen2.5": (1, 1), "qwen3": (640 / 1000, 480 / 1000), "normalised": (640, 480)}
THING = {"bbox_2d": [1, 2, 30, 40], "label": "mug"}

forms = st.sampled_from(FORMS)
coordinates = st.floats(-1e6, 1e6) | st.integers(-1000, 5000)
corners = st.lists(coordinates, min_size=4, max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["bbox_2d", "label"]) | st.text(), inner),
)


def read(answer, form="qwen2.5"):
    return read_boxes(answer, form, 640, 480)


def write(rows, form):
    return json.dumps(rows if form == "normalised" else [{"bbox_2d": row, "label": "mug"} for row in rows])


@given(st.lists(corners, max_size=MAX_BOXES), forms)
def test_boxes_in_form_are_read_in_their_units_and_order(rows, form):
    x, y = UNITS[form]
    assert read(write(rows, form), form) == [Box(a * x, b * y, c * x, d * y) for a, b, c, d in rows]


@given(st.text() | st.text('[]{},.:"0123456789eE-+ \n', max_size=200) | values.map(json.dumps), forms)
def test_whatever_is_said_is_boxes_or_nothing(answer, form):
    assert all(isinstance(box, Box) for box in read(answer, form))


@given(st.lists(corners, min_size=1, max_size=3), forms, st.data())
def test_an_answer_that_is_cut_gives_nothing_at_all(rows, form, data):
    whole = write(rows, form)
    assert read(whole[: data.draw(st.integers(0, len(whole) - 1))], form) == []


@pytest.mark.parametrize("answer", ["```json\n{}\n```", "```\n{}```", "  {}  "])
def test_a_list_may_stand_in_a_fence(answer):
    assert read(answer.format(json.dumps([THING]))) == [Box(1, 2, 30, 40)]


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [
        ("[0.25, 0.5, 0.75, 1.0]", [(160, 240, 480, 480)]),
        (" [0.25, 0.5, 0.75, 1].\n", [(160, 240, 480, 480)]),
        ("[0, 0, 1, 1], [0.25, 0.5, 0.75, 1]", [(0, 0, 640, 480), (160, 240, 480, 480)]),
        ("[[0, 0, 1, 1], [0.25, 0.5, 0.75, 1]]", [(0, 0, 640, 480), (160, 240, 480, 480)]),
        ("[]", []),
    ],
)
def test_plain_lists_are_shares_of_width_and_height(answer, boxes):
    assert read(answer, "normalised") == [Box(*box) for box in boxes]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "There is no mug.",
        "Here it is: " + json.dumps([THING]),
        json.dumps(THING),
        json.dumps([THING, {"label": "mug"}]),
        json.dumps([THING, "mug"]),
        '[{"bbox_2d": [1, 2, 30]}]',
        '[{"bbox_2d": [1, 2, 30, "40"]}]',
        '[{"bbox_2d": [1, 2, 30, true]}]',
        '[{"bbox_2d": [1, 2, 30, NaN]}]',
        '[{"bbox_2d": [1, 2, Infinity, 40]}]',
        '[{"bbox_2d": [1, 2, 30, 1e999]}]',
        '[{"bbox_2d": [1, 2, 30, %s]}]' % ("9" * 400),
        '[{"bbox_2d": [1, 2, 30, %s]}]' % ("9" * 9000),
        "[" * 50_000,
        '{"a":' * 15_000,
        json.dumps([THING] * 10_000),
        json.dumps([THING] * (MAX_BOXES + 1)),
        json.dumps([[0.1, 0.1, 0.2, 0.2]] * 10_000),
        "0.1, 0.2, 0.3, 0.4",
        "[0.1, 0.2, 0.3, 0.4] [0.1, 0.2, 0.3, 0.4]",
        "(0.1, 0.2, 0.3, 0.4)",
        "[0.1, 0.2, 0.3, 0.4], mug",
    ],
    ids=lambda answer: answer[:40],
)
@pytest.mark.parametrize("form", FORMS)
def test_an_answer_out_of_form_gives_nothing(answer, form):
    assert read(answer, form) == []
