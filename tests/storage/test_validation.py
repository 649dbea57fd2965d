from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from storage.common.validation import (
    FILLED,
    Checked,
    Count,
    Natural,
    NotNegative,
    Positive,
    Share,
    above,
    at_least,
    within,
)
from storage.errors import ConfigError


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner(Checked):
    share: Share = 0.5


@dataclass(frozen=True)
class Config(Checked):
    steps: Count = 1
    skipped: Natural = 0
    rate: Positive = 0.1
    margin: NotNegative = 0
    decay: Annotated[float, within("[0, 1)")] = 0.0
    mode: Literal["a", "b"] = "a"
    on: bool = True
    name: str = ""
    limit: Count | None = None
    size: int | str = 1
    colours: tuple[Colour, ...] = (Colour.RED,)
    pair: tuple[int, str] = (1, "x")
    filled: Annotated[tuple[int, ...], FILLED] = (1,)
    repeat: Mapping[str, Annotated[float, within("[0, 1000)")]] = field(default_factory=dict)
    folder: Path | None = None
    anything: Any = None
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "'steps' must be at least 1, got 0"),
        ({"steps": 1.0}, "'steps' must be a whole number, got 1.0"),
        ({"steps": True}, "'steps' must be a whole number, got True"),
        ({"steps": "8"}, "'steps' must be a whole number, got '8'"),
        ({"steps": None}, "'steps' must be a whole number, got None"),
        ({"skipped": -1}, "'skipped' must be at least 0, got -1"),
        ({"rate": 0}, "'rate' must be above 0, got 0"),
        ({"rate": float("nan")}, "'rate' must be a finite number, got nan"),
        ({"rate": float("inf")}, "'rate' must be a finite number, got inf"),
        ({"rate": False}, "'rate' must be a finite number, got False"),
        ({"rate": [0.1]}, "'rate' must be a finite number, got [0.1]"),
        ({"margin": -0.1}, "'margin' must be at least 0, got -0.1"),
        ({"decay": 1}, "'decay' must lie in [0, 1), got 1"),
        ({"decay": -0.001}, "'decay' must lie in [0, 1), got -0.001"),
        ({"mode": "c"}, "'mode' must be one of 'a', 'b', got 'c'"),
        ({"on": 1}, "'on' must be true or false, got 1"),
        ({"on": "true"}, "'on' must be true or false, got 'true'"),
        ({"name": 5}, "'name' must be text, got 5"),
        ({"limit": 0}, "'limit' must be at least 1, got 0"),
        ({"size": 1.5}, "'size' must be a whole number or text, got 1.5"),
        ({"colours": "red"}, "'colours' must be a list, got 'red'"),
        ({"colours": [Colour.RED]}, "'colours' must be a list"),
        ({"colours": (Colour.RED, "blue")}, "'colours'[1] must be of type Colour, got 'blue'"),
        ({"pair": (1,)}, "'pair' must have 2 entries, got (1,)"),
        ({"pair": (1, 2)}, "'pair'[1] must be text, got 2"),
        ({"filled": ()}, "'filled' must not be empty, got ()"),
        ({"repeat": {"coco": 1000}}, "'repeat'['coco'] must lie in [0, 1000), got 1000"),
        ({"repeat": {1: 1.0}}, "a key of 'repeat' must be text, got 1"),
        ({"repeat": []}, "'repeat' must be a mapping, got []"),
        ({"folder": "x"}, "'folder' must be of type Path, got 'x'"),
        ({"inner": {"share": 1}}, "'inner' must be of type Inner, got {'share': 1}"),
    ],
)
def test_a_value_of_another_kind_or_out_of_bounds_is_refused_with_field_value_and_what_is_allowed(wrong, said):
    with pytest.raises(ConfigError) as error:
        Config(**wrong)
    assert said in str(error.value)


def test_what_the_annotations_allow_is_kept_as_it_is():
    config = Config(
        steps=np.int64(3), rate=1, decay=np.float32(0.5), limit=7, size="x", pair=(2, "y"), repeat={"coco": 0},
        folder=Path("x"), anything=object(), inner=Inner(1),
    )  # fmt: skip
    assert (config.rate, config.limit, config.inner.share) == (1, 7, 1)
    assert type(config.rate) is int and type(config.steps) is np.int64


def test_a_copy_is_checked_too_and_plain_values_are_those_of_any_dataclass():
    with pytest.raises(ConfigError, match="'share' must lie"):
        replace(Inner(), share=2)
    assert asdict(Config())["inner"] == {"share": 0.5}


def test_a_subclass_checks_its_own_fields_and_those_of_its_base():
    @dataclass(frozen=True)
    class Wider(Inner):
        more: int = 1

    with pytest.raises(ConfigError, match="'share' must lie"):
        Wider(share=-1)
    with pytest.raises(ConfigError, match="'more' must be a whole number"):
        Wider(more="x")


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [("[0, 1]", (0, 0.5, 1), (-1e-9, 1.01)), ("(0, 1)", (0.5,), (0, 1)), ("(-1, 1]", (1, -0.99), (-1, 2))],
)
def test_an_interval_holds_its_ends_as_it_is_written(interval, inside, outside):
    rule = within(interval)
    assert all(map(rule.holds, inside)) and not any(map(rule.holds, outside))


@pytest.mark.parametrize("text", ["0, 1", "[0, 1", "[a, b]", "", "[0; 1]"])
def test_an_interval_of_another_form_is_an_error_where_it_is_written(text):
    with pytest.raises(ValueError, match=r"interval|float|unpack"):
        within(text)


def test_bounds_hold_from_their_number_on_or_beyond_it():
    assert at_least(1).holds(1) and not at_least(1).holds(0)
    assert above(0).holds(1e-9) and not above(0).holds(0)
