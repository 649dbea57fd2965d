import json

import pytest

from ivm_data.experts.lmms.written_instructions import read_instructions

GOOD = ["Hand me what I can drink from.", "Which thing is red?"]


@pytest.mark.parametrize(
    "answer",
    [json.dumps(GOOD), f"```json\n{json.dumps(GOOD)}\n```", f"  {json.dumps(GOOD)}\n", f"Sure! {json.dumps(GOOD)}"],
)
def test_a_json_list_of_strings_is_read(answer):
    assert read_instructions(answer, "red mug", 3, 100) == (GOOD, {})


@pytest.mark.parametrize(
    "answer",
    ["", '["a b"] or ["c"]', '{"a": "b"}', '["a", 1]', "[", "[" * 100_000, json.dumps(["x" * 100_001]), "find red mug"],
)
def test_of_an_answer_out_of_form_nothing_is_taken(answer):
    assert read_instructions(answer, "red mug", 3, 100) == ([], {"answer out of form": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" ... ", "empty"),
        ("x" * 101, "too long"),
        ("Red  MUG!", "the phrase itself"),
        ("hand me what I can drink from", "repeated"),
        ("Look at <image> now.", "not plain text"),
        ("See\u202ethis", "not plain text"),
    ],
)
def test_an_instruction_that_is_of_no_use_is_dropped_with_its_reason(text, reason):
    assert read_instructions(json.dumps([GOOD[0], text]), "red mug", 3, 100) == ([GOOD[0]], {reason: 1})


def test_no_more_are_taken_than_were_asked_for_and_no_answer_is_counted():
    assert read_instructions(json.dumps(GOOD), "red mug", 1, 100) == (GOOD[:1], {"more than asked": 1})
    assert read_instructions(None, "red mug", 1, 100) == ([], {"no answer": 1})


def test_of_a_list_that_is_cut_whole_instructions_are_taken_and_the_cut_is_counted():
    assert read_instructions(json.dumps(GOOD)[:-8], "red mug", 3, 100) == (GOOD[:1], {"answer cut": 1})
