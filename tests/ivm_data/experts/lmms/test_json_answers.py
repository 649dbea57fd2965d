import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.experts.lmms.json_answers import MAX_CHARACTERS, JsonValue, read_json

LIST = [{"a": [1, 2.5], "b": "x]y"}, {"a": []}]
TEXT = json.dumps(LIST)

scalars = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
lists = st.lists(values) | st.dictionaries(st.text(), values)


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f"  {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```JSON\n{TEXT}\n```",
        f"```json{TEXT}```",
        f"```json\n{TEXT}",
        f"Here you are:\n```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```\nThat is all.",
        f"Sure! {TEXT}",
        f"<think>\nmaybe [3] or {{no}}\n</think>\n\n{TEXT}",
        f"maybe [[3]]</think>{TEXT}",
        f"All [of them] are here: {TEXT}",
        TEXT[:-1] + ",]",
        TEXT.replace("}", ",}"),
        TEXT.replace("}]", "}\n , \n]"),
    ],
)
def test_a_value_is_found_whatever_stands_around_it(answer):
    assert read_json(answer) == [JsonValue(LIST)]


@settings(max_examples=50, deadline=None)
@given(lists)
def test_any_list_or_object_is_read_as_it_was_written(value):
    assert read_json(json.dumps(value)) == [JsonValue(value)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(), min_size=1) | st.text() | st.dictionaries(st.text(), values)), st.data())
def test_of_a_list_that_is_cut_its_whole_entries_are_read_and_it_says_that_it_is_cut(entries, data):
    whole = json.dumps(entries)
    cut = data.draw(st.integers(1, len(whole) - 1))
    for found in read_json(whole[:cut]):
        if found.value and not found.whole:
            assert entries[: len(found.value)] == found.value


def test_a_cut_list_keeps_what_is_whole():
    assert read_json('[{"a": 1}, {"a": 2}, {"a": 3') == [JsonValue([{"a": 1}, {"a": 2}], whole=False)]
    assert read_json('[{"a": 1}, oops, {"a": 3}]') == [JsonValue([{"a": 1}], whole=False)]


@pytest.mark.parametrize("answer", ["[0.1, 0.2, 0.3, 0.4", "[1, 2, 3", "[12", "[", "[[1, 2"])
def test_of_numbers_that_are_cut_none_is_taken(answer):
    assert read_json(answer) == []


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no such thing",
        "{'a': 1}",
        "<think>[1, 2]",
        "<think>\n[1]</think> none",
        '[{"a": [1, 2], "b": [3',
        '{"a": [1], oops}',
        "[" * 50_000,
        '{"a":' * 15_000,
    ],
)
def test_where_there_is_no_json_nothing_is_read(answer):
    assert read_json(answer) == []


def test_several_values_keep_their_order():
    assert read_json('{"a": 1}\n{"b": 2} and [3]') == [JsonValue({"a": 1}), JsonValue({"b": 2}), JsonValue([3])]


def test_a_line_break_within_a_string_is_part_of_it():
    assert read_json('["red\nring"]') == [JsonValue(["red\nring"])]


def test_an_answer_without_end_is_not_read():
    assert read_json("[" + "1, " * MAX_CHARACTERS + "1]") == []


@given(st.text() | st.text('[]{},:"\\0123456789eE-+. \n', max_size=300))
def test_whatever_is_said_is_read_or_not_and_never_fails(answer):
    assert all(isinstance(found.value, list | dict) for found in read_json(answer))
