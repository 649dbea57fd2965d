from dataclasses import dataclass, field
from typing import Literal

import pytest

from ivm_data.config import build, override
from ivm_data.recipes.labeling_recipes import demo, recipe
from storage.errors import ConfigError


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
        ({"limit": "three"}, "limit must be int, got 'three'"),
        ({"inner.on": "maybe"}, "must be one of True, False, got 'maybe'"),
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
        "demo", {"gate.accept": "0.9", "resolve.choose.min_support": 0.1, "grounder.options.path": "zoo:x"}
    )
    assert (changed.gate.accept, changed.resolve.choose.min_support) == (0.9, 0.1)
    assert changed.grounder.options["path"] == "zoo:x"
    assert changed.segmenter == demo().segmenter


def test_an_unknown_recipe_is_named_with_the_choices():
    with pytest.raises(ConfigError, match="unknown recipe 'dmeo'; choose one of card, demo"):
        recipe("dmeo")
