from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ivm_data.config import build, override
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import demo, recipe, recipe_hash
from storage.errors import ConfigError
from storage.records import Status

RECIPE = "ca0c03c15ab7"
"""Of the demo recipe without its experts' names: labels that exist were made under it."""


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    on: bool = True


@dataclass(frozen=True)
class Outer:
    name: str
    mode: Literal["a", "b"] = "a"
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)


def test_text_from_a_command_line_becomes_the_fields_own_type():
    changed = override(Outer("x"), {"inner.share": "0.25", "inner.on": "false", "limit": "3", "mode": "b"})
    assert changed == Outer("x", "b", 3, Inner(0.25, False))


def test_nested_mappings_become_nested_configs():
    assert build(Outer, {"name": "x", "inner": {"share": 1}}, "test").inner == Inner(1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "y"}, "no field 'nmae' in 'nmae'; choose from name, mode, limit, inner"),
        ({"inner.shares": 1}, "choose from share, on"),
        ({"mode": "c"}, "mode must be one of 'a', 'b', got 'c'"),
        ({"limit": "three"}, "limit must be a whole number, got 'three'"),
        ({"inner.on": "maybe"}, "inner.on must be true or false, got 'maybe'"),
    ],
)
def test_a_wrong_field_or_value_is_named_with_the_choices(changes, message):
    with pytest.raises(ConfigError) as error:
        override(Outer("x"), changes)
    assert message in str(error.value)


def test_a_missing_option_is_named():
    with pytest.raises(ConfigError, match="test needs option 'name'"):
        build(Outer, {}, "test")


def test_every_field_of_a_recipe_can_be_overridden_by_a_dotted_path():
    changed = recipe(
        "demo", {"gate.accept": "0.9", "resolve.choose.min_support": 0.1, "grounders.0.options.path": "zoo:x"}
    )
    assert (changed.gate.accept, changed.resolve.choose.min_support) == (0.9, 0.1)
    assert changed.grounders[0].options["path"] == "zoo:x"
    assert changed.segmenter == demo().segmenter


def test_an_unknown_recipe_is_named_with_the_choices():
    with pytest.raises(ConfigError, match="unknown recipe 'dmeo'; choose one of card, demo"):
        recipe("dmeo")


@dataclass(frozen=True)
class Part:
    size: int
    name: str = ""


@dataclass(frozen=True)
class Whole:
    names: tuple[Literal["a", "b"], ...] = ("a",)
    statuses: tuple[Status, ...] = (Status.ACCEPTED,)
    parts: tuple[Part, ...] = (Part(1),)
    shares: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    low: float = 0.0
    size: int = 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"names": "[]"}, Whole(names=())),
        ({"names": ""}, Whole(names=())),
        ({"names": "a, b"}, Whole(names=("a", "b"))),
        ({"names": '["b"]'}, Whole(names=("b",))),
        ({"names": ["b", "a"]}, Whole(names=("b", "a"))),
        ({"statuses": "accepted,review"}, Whole(statuses=(Status.ACCEPTED, Status.REVIEW))),
        ({"parts": "[]"}, Whole(parts=())),
        ({"parts": '[{"size": 3}, {"size": "4", "name": "x"}]'}, Whole(parts=(Part(3), Part(4, "x")))),
        ({"parts.0": '{"size": 2}'}, Whole(parts=(Part(2),))),
        ({"parts": '[{"size": 3}]', "parts.0.size": "9"}, Whole(parts=(Part(9),))),
        ({"shares": '{"coco": 0.5, "vg": "1"}'}, Whole(shares={"coco": 0.5, "vg": 1.0})),
        ({"shares.coco": "2"}, Whole(shares={"coco": 2.0})),
        ({"options.choose.min": "1"}, Whole(options={"choose": {"min": "1"}})),
        ({"size": 3.0}, Whole(size=3)),
    ],
)
def test_a_tuple_is_text_with_commas_or_a_json_list_and_a_mapping_a_json_object(changes, expected):
    assert override(Whole(), changes) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"names": "a,c"}, "names.1 must be one of 'a', 'b', got 'c'"),
        ({"names": "[a]"}, "names must be JSON"),
        ({"names": 3}, "names must be a list, got 3"),
        ({"statuses": "accepted,revue"}, "statuses.1 must be one of 'accepted', 'review'"),
        ({"parts": "x"}, "parts.0 must be JSON"),
        ({"parts": "[3]"}, "parts.0 must be a mapping, as text a JSON object, got 3"),
        ({"parts": "[{}]"}, "parts.0 needs option 'size'"),
        ({"parts.1.size": 2}, "no entry '1' in 'parts.1'; choose from 0"),
        ({"parts.0.size.x": 2}, "no field 'parts.0.size.x': 'parts.0.size' is 1, which has no fields"),
        ({"shares": "coco"}, "shares must be JSON"),
        ({"shares": "[1]"}, "shares must be a mapping"),
        ({"shares.coco": "many"}, "shares.coco must be a finite number, got 'many'"),
        ({"shares.coco.x": "1"}, "no field 'shares.coco.x': 'shares.coco' is None"),
        ({"low": "nan"}, "low must be a finite number, got nan"),
        ({"low": "inf"}, "low must be a finite number, got inf"),
        ({"low": True}, "low must be a finite number, got True"),
        ({"size": True}, "size must be a whole number, got True"),
        ({"size": 3.7}, "size must be a whole number, got 3.7"),
        ({"size": "1e3"}, "size must be a whole number, got '1e3'"),
        ({"size": None}, "size must be a whole number, got None"),
        ({"parts.0.name": None}, "parts.0.name must be text, got None"),
        ({"parts.0.name": ["x"]}, "parts.0.name must be text, got ['x']"),
    ],
)
def test_a_value_of_another_kind_is_refused_whatever_the_field(changes, said):
    with pytest.raises(ConfigError) as error:
        override(Whole(), changes)
    assert said in str(error.value)


def test_changes_that_hold_together_may_come_in_any_order():
    changes = {"gate.accept": "0.3", "gate.reject": "0.2"}
    assert recipe("demo", changes) == recipe("demo", dict(reversed(changes.items())))


def test_the_proposers_of_a_recipe_can_be_emptied_or_replaced():
    assert recipe("demo", {"proposers": "[]"}).proposers == ()
    replaced = recipe("demo", {"proposers": '[{"expert": "clipseg", "options": {"path": "x"}}]'})
    assert replaced.proposers == (ExpertSpec("clipseg", {"path": "x"}),)


def test_a_part_of_an_expert_that_it_does_not_have_is_an_error_in_words():
    with pytest.raises(ConfigError, match=r"no field 'verifier.uses.lmm.options': 'verifier.uses.lmm' is None"):
        recipe("demo", {"verifier.uses.lmm.options.device": "cpu"})


def test_the_hash_of_the_demo_recipe_stays_what_it_was():
    assert recipe_hash(demo(), []) == RECIPE
