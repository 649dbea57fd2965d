"""What people say to data sets and robots, each as a request that loses nothing of it: the schema can hold it."""

import json

import pytest
from jsonschema import Draft202012Validator

from ivm_data.experts.lmms.request_json import schema
from ivm_data.experts.lmms.request_reader import read_request
from storage.request import ALL, Request, Thing


def target(noun, expression=None, **more):
    return {"noun": noun, "expression": expression or noun, **more}


def to(relation, *anchors):
    return {"relation": relation, "anchors": list(anchors)}


def things(*targets):
    return {"scope": "things", "targets": list(targets)}


WHOLE, NOTHING = {"scope": "whole image", "targets": []}, {"scope": "nothing", "targets": []}

SAID = {
    "the boy at the far left": things(target("boy", order="left", rank=1)),
    "second bottle from the right": things(target("bottle", order="right", rank=2)),
    "the biggest pizza slice": things(target("pizza slice", order="largest", rank=1)),
    "lady without sunglasses": things(target("lady", "lady without sunglasses")),
    "every chair but the broken one": things(target("chair", count="all", exceptions=["broken chair"])),
    "the three cats": things(target("cat", "cats", count=3)),
    "a bird between the two lamps": things(
        target("bird", relations=[to("between", target("lamp", "left lamp"), target("lamp", "right lamp"))])
    ),
    "the car closest to the hydrant": things(target("car", relations=[to("nearest to", target("hydrant"))])),
    "What is the dog left of the bench and above the mat chewing?": things(
        target("dog", relations=[to("left of", target("bench")), to("above", target("mat"))])
    ),
    "the cup on the table by the window": things(
        target("cup", relations=[to("on", target("table", relations=[to("by", target("window"))]))])
    ),
    "Hand me the fork, or a spoon if there is none": things(target("fork", alternatives=["spoon"])),
    "What does the blue road sign say?": things(target("road sign", "blue road sign", is_writing=True)),
    "Take the lid off the pot, then stir the soup with the ladle": things(
        target("lid", step=1), target("pot", step=1), target("soup", step=2), target("ladle", step=2)
    ),
    "Are the curtains and the sofa of the same colour?": things(target("curtains", count="all"), target("sofa")),
    "Describe what you see.": WHOLE,
    "Is it a sunny day?": WHOLE,
    "Good morning, robot!": NOTHING,
}

EXPECTED = {
    "second bottle from the right": (Thing("bottle", order="right", rank=2),),
    "every chair but the broken one": (Thing("chair", count=ALL), Thing("broken chair", of=0, relation="except")),
    "a bird between the two lamps": (
        Thing("bird"),
        Thing("left lamp", "lamp", of=0, relation="between"),
        Thing("right lamp", "lamp", of=0, relation="between"),
    ),
    "the cup on the table by the window": (
        Thing("cup"),
        Thing("table", of=0, relation="on"),
        Thing("window", of=1, relation="by"),
    ),
    "Hand me the fork, or a spoon if there is none": (Thing("fork"), Thing("spoon", of=0, relation="or")),
}


@pytest.mark.parametrize(("instruction", "answer"), SAID.items())
def test_the_schema_holds_what_is_said_and_it_is_read_as_it_stands(instruction, answer):
    Draft202012Validator(schema()).validate(answer)
    request = read_request(json.dumps(answer))
    assert isinstance(request, Request) and request.notes == ()
    assert request.scope == answer["scope"]
    targets = [request.things[index] for index in request.targets]
    assert [thing.noun or thing.expression for thing in targets] == [one["noun"] for one in answer["targets"]]
    if instruction in EXPECTED:
        assert request.things == EXPECTED[instruction]
