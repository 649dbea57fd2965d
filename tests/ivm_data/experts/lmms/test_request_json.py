import json

import pytest
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as SchemaError

from ivm_data.experts.lmms.request_json import request_of, schema
from storage.request import ALL, Request, Thing

FULL = {
    "scope": "things",
    "targets": [
        {
            "noun": "cup",
            "expression": "red cup with a lid",
            "count": 1,
            "order": "left",
            "rank": 2,
            "relations": [
                {
                    "relation": "between",
                    "anchors": [{"noun": "plate", "expression": "plate"}, {"noun": "bowl", "expression": "big bowl"}],
                },
                {"relation": "inside", "anchors": [{"noun": "box", "expression": "box"}]},
            ],
            "exceptions": ["chipped cup"],
            "alternatives": ["mug"],
            "is_writing": False,
            "step": 2,
        },
        {"noun": "sign", "expression": "street sign", "count": "all", "is_writing": True},
    ],
}


def test_the_whole_schema_becomes_a_request():
    Draft202012Validator(schema()).validate(FULL)
    assert request_of(FULL).things == (
        Thing("red cup with lid", "cup", order="left", rank=2, step=2),
        Thing("plate", of=0, relation="between"),
        Thing("big bowl", "bowl", of=0, relation="between"),
        Thing("box", of=0, relation="inside"),
        Thing("chipped cup", of=0, relation="except"),
        Thing("mug", of=0, relation="or"),
        Thing("street sign", "sign", count=ALL, reads=True),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "things"},
        {"scope": "all", "targets": []},
        {"scope": "things", "targets": [{"noun": "cup"}]},
        {"scope": "things", "targets": [{"noun": "cup", "expression": "cup", "order": "middle"}]},
    ],
)
def test_the_schema_refuses_what_it_does_not_describe(wrong):
    with pytest.raises(SchemaError):
        Draft202012Validator(schema()).validate(wrong)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["red mug", "green bowl"], Request.of(("red mug", "green bowl"))),
        ({"targets": "red mug"}, Request.of(("red mug",))),
        ({"find": "find red mug"}, Request.of(("red mug",))),
        ({"target": "mug", "relation": "to the left of", "anchor": "plate"}, Request.of(("mug",), "plate", "left of")),
        ({"objects": [{"name": "mug", "colour": "red"}]}, Request.of(("red mug",))),
        ({"targets": [{"name": "red mug", "attributes": ["red", "large"]}]}, Request.of(("large red mug",))),
        ({"targets": ["red_mug."]}, Request.of(("red mug",))),
        ({"targets": ["mug"], "all": True, "reasoning": "..."}, Request.of(("mug",), quantity="all")),
        ({"targets": ["mug"], "scope": "objects"}, Request.of(("mug",))),
        ({"target": "mug", "relation": "left of", "anchor": "the image"}, Request((Thing("mug on the left", "mug"),))),
        ([{"bbox_2d": [1, 2, 3, 4], "label": "red mug"}], Request.of(("red mug",))),
        ({"targets": []}, Request(scope="nothing")),
        ({"targets": None}, Request(scope="nothing")),
        ({"scope": "whole image", "targets": []}, Request(scope="whole image")),
        ({"scope": "whole_image"}, Request(scope="whole image")),
        ({"noun": "mug", "expression": "red mug"}, Request((Thing("red mug", "mug"),))),
    ],
)
def test_other_shapes_that_say_the_same_are_read(value, expected):
    assert request_of(value) == expected


def test_a_key_that_is_not_read_leaves_a_note():
    (note,) = request_of({"targets": [{"name": "mug", "held_by": "the man", "score": 0.9}]}).notes
    assert note == "not read of a target: held_by"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"colour": "red"}, "none of the keys targets"),
        ({"scope": "everywhere"}, "scope must be"),
        ({"scope": "whole image", "targets": ["mug"]}, "names targets too"),
        ({"targets": [3]}, "words or an object"),
        ({"targets": [{"colour": "red"}]}, "no words under"),
        ({"targets": [{"noun": "mug", "rank": 0, "order": "left"}]}, "rank must be a number"),
        ({"targets": [{"noun": "mug", "count": -1}]}, "count must be a number"),
        ({"targets": [{"noun": "mug", "order": "middle"}]}, "order must be"),
        ({"targets": [{"noun": "mug", "relations": [{"relation": "left of"}]}]}, "has no anchor"),
        ({"targets": [{"noun": "mug", "relations": ["left"]}]}, "an object with 'relation'"),
        ({"targets": [f"thing{i}" for i in range(9)]}, "more than 8"),
    ],
)
def test_what_is_out_of_range_is_said(value, fault):
    with pytest.raises(ValueError, match=fault):
        request_of(value)


def test_the_schema_is_plain_json():
    assert json.loads(json.dumps(schema())) == schema()
