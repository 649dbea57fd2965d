import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.experts.common.protocols import AnswerError
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
    assert read(write(rows, form), form) == ([Box(a * x, b * y, c * x, d * y) for a, b, c, d in rows], 0)


@given(st.text() | st.text('[]{},.:"0123456789eE-+ \n', max_size=200) | values.map(json.dumps), forms)
def test_whatever_is_said_is_boxes_or_an_error_in_words(answer, form):
    try:
        found = read(answer, form)
    except AnswerError as error:
        assert str(error)
    else:
        assert all(isinstance(box, Box) for box in found.boxes) and (found.boxes or not found.unread)


@given(st.lists(corners, min_size=1, max_size=3), forms, st.data())
def test_of_an_answer_that_is_cut_whole_boxes_count_and_the_cut_is_counted(rows, form, data):
    whole = write(rows, form)
    try:
        found = read(whole[: data.draw(st.integers(0, len(whole) - 1))], form)
    except AnswerError:
        return
    assert found.boxes == read(whole, form).boxes[: len(found.boxes)] and found.unread == 1


@pytest.mark.parametrize(
    ("answer", "unread"),
    [
        (json.dumps([THING]), 0),
        (json.dumps(THING), 0),
        (f"```json\n{json.dumps(THING)}\n```", 0),
        (f"Here are the boxes:\n```json\n{json.dumps([THING])}\n```", 0),
        (f"```json\n{json.dumps([THING])}\n```\nThe mug is red.", 0),
        (f"<think>\nthe mug is left\n</think>\n\n{json.dumps([THING])}", 0),
        (f"```json{json.dumps([THING])}```", 0),
        (f"```json\n{json.dumps([THING])}", 0),
        (f"```JSON\n{json.dumps([THING])}\n```", 0),
        (json.dumps([THING])[:-1] + ",]", 0),
        ('[{"bbox_2d": [1, 2, 30, 40], "label": "a\nb"}]', 0),
        (f"The image is [640, 480] pixels: {json.dumps([THING])}", 0),
        ('[{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [10, 20, 1', 1),
        (json.dumps([THING, {"point_2d": [5, 5], "label": "x"}]), 1),
        (json.dumps([THING, "mug"]), 1),
        (json.dumps([THING, {"bbox_2d": [1, 2, 30]}, {"bbox_2d": [1, 2, 30, True]}]), 2),
        ('[{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [1, 2, 30, NaN]}, {"bbox_2d": [1, 2, 1e999, 4]}]', 2),
    ],
)
def test_a_box_is_read_whatever_stands_around_it_and_what_is_none_is_counted(answer, unread):
    assert read(answer) == ([Box(1, 2, 30, 40)], unread)


def test_objects_without_a_list_are_one_after_the_other():
    assert read('{"bbox_2d": [1, 2, 3, 4]}\n{"bbox_2d": [5, 6, 7, 8]}').boxes == [Box(1, 2, 3, 4), Box(5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [
        ("[0.25, 0.5, 0.75, 1.0]", [(160, 240, 480, 480)]),
        (" [0.25, 0.5, 0.75, 1].\n", [(160, 240, 480, 480)]),
        ("The mug is at [0.25, 0.5, 0.75, 1].", [(160, 240, 480, 480)]),
        ("[0, 0, 1, 1], [0.25, 0.5, 0.75, 1]", [(0, 0, 640, 480), (160, 240, 480, 480)]),
        ("[0, 0, 1, 1] and [0.25, 0.5, 0.75, 1]", [(0, 0, 640, 480), (160, 240, 480, 480)]),
        ("[[0, 0, 1, 1], [0.25, 0.5, 0.75, 1]]", [(0, 0, 640, 480), (160, 240, 480, 480)]),
        ("[]", []),
    ],
)
def test_plain_lists_are_shares_of_width_and_height(answer, boxes):
    assert read(answer, "normalised") == ([Box(*box) for box in boxes], 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", ["[]", "```json\n[]\n```", "There is none: []", "<think>no mug</think>[]"])
def test_only_an_empty_list_says_that_there_is_no_such_thing(answer, form):
    assert read(answer, form) == ([], 0)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "There is no mug.",
        "(0.1, 0.2, 0.3, 0.4)",
        "0.1, 0.2, 0.3, 0.4",
        "[10%, 20%, 50%, 90%]",
        "<think>[]",
        "<|box_start|>(10,20),(110,90)<|box_end|>",
        '[{"label": "mug"}]',
        '[{"bbox": [1, 2, 30, 40]}]',
        "[{'bbox_2d': [1, 2, 30, 40]}]",
        '[{"bbox_2d": [[1, 2, 30, 40], [5, 6, 7, 8]]}]',
        '[{"bbox_2d": [1, 2, 30]}]',
        '[{"bbox_2d": [1, 2, 30, "40"]}]',
        '[{"bbox_2d": [1, 2, 30, true]}]',
        '[{"bbox_2d": [1, 2, 30, NaN]}]',
        '[{"bbox_2d": [1, 2, Infinity, 40]}]',
        '[{"bbox_2d": [1, 2, 30, 1e999]}]',
        '[{"bbox_2d": [1, 2, 30, %s]}]' % ("9" * 400),
        '[{"bbox_2d": [1, 2, 30, %s]}]' % ("9" * 9000),
        '[{"bbox_2d": [1, 2, 30, 4',
        "[0.1, 0.2, 0.3, 0.4",
        "[" * 50_000,
        '{"a":' * 15_000,
        json.dumps([THING] * 10_000),
        json.dumps([THING] * (MAX_BOXES + 1)),
        json.dumps([[0.1, 0.1, 0.2, 0.2]] * 10_000),
        json.dumps([[0.1, 0.1, 0.2, 0.2]] * (MAX_BOXES + 1)),
    ],
    ids=lambda answer: answer[:40],
)
@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_cannot_be_read_is_an_error_and_not_no_boxes(answer, form):
    with pytest.raises(AnswerError):
        read(answer, form)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (f"{json.dumps([THING])} no: []", "qwen2.5"),
        (f"{json.dumps([THING])} or {json.dumps(THING)}", "qwen3"),
        ("[0.1, 0.2, 0.3, 0.4]", "qwen2.5"),
        (json.dumps(THING), "normalised"),
    ],
)
def test_an_answer_that_says_two_things_or_is_of_another_form_is_an_error(answer, form):
    with pytest.raises(AnswerError):
        read(answer, form)
