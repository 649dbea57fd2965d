"""Answers as LMMs write them. Each is read as meant, or says why it cannot be read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.cli.rewrite import in_short
from ivm_data.experts.lmms.request_reader import MAX_CHARACTERS, UnreadableAnswerError, read, read_request
from storage.request import Request

CASES = Path(__file__).parents[5] / "shared" / "cases" / "lmm_answers.jsonl"
MUG, BOTH = ("red mug",), ("red mug", "green bowl")


@pytest.mark.parametrize(
    ("answer", "phrases"),
    [
        ("find red mug", MUG),
        ("FIND RED MUG!", MUG),
        ("Sure! find red mug", MUG),
        ("My answer: Find the red mug.", MUG),
        ("“find red mug”", MUG),
        ("**Answer:** `find red mug`", MUG),
        ("### Answer\nfind red mug", MUG),
        ("Sure! Here you go:\n\nfind red mug\n\nThe mug is needed since it is red.", MUG),
        ("find red mug</s><s>", MUG),
        ("<|im_start|>assistant\nfind red mug<|im_end|>", MUG),
        ("USER: put it there ASSISTANT: find red mug", MUG),
        ("<think>The plate? No, the mug.</think>find red mug", MUG),
        ("<answer>red mug</answer>", MUG),
        ("find(red mug)", MUG),
        ("find red mug so that you can lift it", MUG),
        ("find the red mug - it is needed first", MUG),
        ("find red mug, please", MUG),
        ("find the colour of the red mug", MUG),
        ("find the red mug in the image", MUG),
        ("The red mug.", MUG),
        ("*red mug*", MUG),
        ("find <red mug>", MUG),
        ("find → red mug", MUG),
        ("You need to find the red mug.", MUG),
        ("The red mug is the target.", MUG),
        ('The target phrase is "red mug".', MUG),
        ("segment the red mug", MUG),
        ("find the red mug's colour", MUG),
        ('{"result": {"targets": ["red mug"]}}', MUG),
        ('{"response": "find red mug"}', MUG),
        ("red mug / green bowl", BOTH),
        ("1) red mug 2) green bowl", BOTH),
        ("(a) red mug\n(b) green bowl", BOTH),
        ("To do this you need to find the red mug and the green bowl.", BOTH),
        ("The things in the image that one has to look at are the red mug and the green bowl.", BOTH),
        ("I would look at the red mug.", MUG),
        ("The object you want is the red mug.", MUG),
        ("To follow this instruction, look at the red mug.", MUG),
        ('{"targets": ["red mug"]}', MUG),
        ("{'targets': ['red mug',]}", MUG),
        ('Here it is:\n```json\n{"targets": [{"noun": "mug", "expression": "red mug"}]}\n```', MUG),
        ('{"targets": ["plate"]}\nNo, wait:\n{"targets": ["red mug"]}', MUG),
        ("find: \n- red mug\n- green bowl", BOTH),
        ("1. **red mug**\n2. **green bowl**", BOTH),
        ("Red mug\nGreen bowl", BOTH),
        ("find red mug and find green bowl", BOTH),
        ("find red mug first, then the green bowl", BOTH),
        ("The things to look at are the red mug and the green bowl.", BOTH),
        ("Targets: red mug, green bowl", BOTH),
        ("find the image and the red mug", MUG),
        ("Finde das rote Glas", ("rote glas",)),
        ("找到红色的杯子", ("红色的杯子",)),
        ("find dog’s tail", ("dog’s tail",)),
        ("find TV (turned off)", ("tv turned off",)),
        ("- **Red mug**: what to pick up\n- **Green bowl**: where to put it", BOTH),
        ("1. Red mug (to be picked up)\n2. Green bowl (destination)", BOTH),
        ("find red mug find green bowl", BOTH),
        ("find red mug -> green bowl", BOTH),
        ('Sure, here\'s the answer: "find red mug"', MUG),
        ("I think the answer is find red mug.", MUG),
        ("Let's find the red mug.", MUG),
        ("We are looking for a red mug.", MUG),
        ("The instruction requires finding the red mug.", MUG),
        ("The question asks for the colour of the red mug.", MUG),
        ("[INST] Put it there. [/INST] find red mug", MUG),
        ("\\boxed{find red mug}", MUG),
        ("$\\boxed{\\text{red mug}}$", MUG),
        ("find red_mug", MUG),
        ("find red mug<0x0A>", MUG),
        ("find red mug\u200b", MUG),
        ("find <ref>red mug</ref>", MUG),
        ("<ref>red mug</ref><box>(1,2),(3,4)</box>", MUG),
        ("find red mug at [10, 20, 30, 40]", MUG),
        ("Answer: find red mug\nInstruction: open the window\nAnswer: find window", MUG),
        ("find red mug Question: what is it? find window", MUG),
        ("find red mug to put it away", MUG),
        ("find red mug for drinking the coffee", MUG),
        ("find red mug (e.g. the one on the table)", MUG),
        ("- target: red mug", MUG),
        ("find red, white and blue flag", ("red, white and blue flag",)),
        ("find man in a red, blue and white shirt", ("man in a red, blue and white shirt",)),
        ("find the left and right shoes", ("left shoes", "right shoes")),
        ("find first and second book", ("first book", "second book")),
        ("find the red mug, which is on the left", ("red mug on the left",)),
        ("find the woman, with an umbrella", ("woman with umbrella",)),
        ("find man on the left side of the image", ("man on the left",)),
        ("find the person in the top left corner of the picture", ("person in the top left corner",)),
    ],
)
def test_an_answer_is_read_as_meant(answer, phrases):
    request = read_request(answer)
    assert request.phrases == phrases
    assert request.answer == answer


@pytest.mark.parametrize("answer", ["find red mug", '{"scope": "things", "targets": [{"noun": "mug"}]}'])
def test_what_was_asked_for_needs_no_note(answer):
    assert read_request(answer).notes == ()


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        ("The red mug", "no line begins with 'find'"),
        ("Sure!\nfind red mug", "words around the answer"),
        ("find red mug because it is red", "a purpose or a second sentence"),
        ("<think>hm</think>find mug", "thoughts"),
        ("encuentra la taza roja", "Spanish"),
        ("find scene and mug", "named beside things"),
        ("find size of the mug", "which has to be seen for it"),
        ('{"targets": ["a"]} {"targets": ["mug"]}', "the last of 2"),
        ("find mug at (12, 40)", "coordinates"),
        ("find mug\nQuestion: what is it?\nfind window", "a further question"),
        ("- mug: what to pick up", "an explanation"),
        ("mug; relation: left of; anchor: plate", "fields"),
        ("target: mug\nrelation: left of\nanchor: plate", "fields"),
    ],
)
def test_whatever_was_done_to_an_answer_leaves_a_note(answer, note):
    assert note in "; ".join(read_request(answer).notes)


@pytest.mark.parametrize(
    ("answer", "scope"),
    [
        ("find whole image", "whole image"),
        ("The whole image.", "whole image"),
        ("find the scene", "whole image"),
        ("find photo", "whole image"),
        ("Everything in the picture", "whole image"),
        ("This question is about the whole image.", "whole image"),
        ("None of the objects", "nothing"),
        ('{"scope": "whole image", "targets": []}', "whole image"),
        ('{"targets": ["entire image"]}', "whole image"),
        ("find none", "nothing"),
        ("N/A", "nothing"),
        ("There is no object to find.", "nothing"),
        ('{"targets": []}', "nothing"),
    ],
)
def test_an_answer_may_be_about_the_whole_image_or_about_nothing(answer, scope):
    request = read_request(answer)
    assert (request.scope, request.things) == (scope, ())


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("", "empty"),
        ("...", "empty"),
        ("<think>the plate, or else the", "empty"),
        ("I'm sorry, but I can't help with that.", "refuses"),
        ("As an AI language model, I cannot see images.", "refuses"),
        ("find [all] PHRASE [and PHRASE]*", "repeats the prompt"),
        ("The image shows a red mug on a table next to a laptop.", "no line 'find ...'"),
        ("yes", "names nothing"),
        ("Pick up the red mug", "no line 'find ...'"),
        ("put red mug on plate", "no line 'find ...'"),
        ("The instruction asks you to pick up the red mug.", "no line 'find ...'"),
        ("The umbrella needs to be found.", "no line 'find ...'"),
        ("| object | reason |\n|---|---|\n| red mug | to lift |", "no line 'find ...'"),
        ("find books 1 and 2", "names no thing"),
        ("find everything", "names nothing"),
        ("find it", "names nothing"),
        ("find the one on the left", "names nothing"),
        ("I don't need to look at anything.", "no line 'find ...'"),
        ("find what the man is holding", "is a question"),
        ("find all", "ends within a phrase"),
        ("find star above", "ends within a phrase"),
        ('{"targets": ["red mug"', "does not end"),
        ('{"colour": "red"}', "none of the keys"),
        ("find " + "very " * 30 + "red mug", "a sentence and no phrase"),
        ("find mug " * MAX_CHARACTERS, "characters"),
        ("find " + ", ".join(f"thing {i}" for i in range(20)), "20 targets"),
    ],
)
def test_what_is_no_answer_says_why_and_is_kept(answer, fault):
    with pytest.raises(UnreadableAnswerError, match=fault):
        read_request(answer)
    request = read(answer)
    assert request.things == () and request.answer == answer and fault in request.notes[-1]


def test_a_cut_answer_is_read_only_where_its_json_is_whole():
    assert read('{"targets": ["red mug"]} I chose', is_cut=True).phrases == MUG
    assert "cut" in read("find red mug and green bo", is_cut=True).notes[-1]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_without_another_error(answer):
    request = read(answer)
    assert all(phrase.strip() == phrase != "" for phrase in request.phrases)
    assert request.things or request.scope != "things" or request.notes


KEYS = st.sampled_from(
    ["targets", "scope", "noun", "relations", "anchors", "relation", "count", "order", "rank", "exceptions"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=9)


@given(
    st.recursive(LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=4), max_leaves=12)
)
def test_any_json_is_read_or_refused_without_another_error(value):
    assert isinstance(read(json.dumps(value)), Request)


@pytest.mark.skipif(not CASES.exists(), reason=f"needs the collection of LMM answers at {CASES}")
def test_the_shared_answers_are_read_as_meant():
    wrong = []
    for line in CASES.read_text().splitlines():
        case = json.loads(line)
        short = in_short(read(case["answer"]))
        found = {key: short[key] for key in ("targets", "relation", "anchor", "all")} if short["targets"] else None
        if found != case["want"]:
            wrong.append((case["answer"], found, case["want"]))
    assert not wrong
