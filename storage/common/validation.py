"""Config values that are checked where a config is made: the kind and the bounds of a field stand in its annotation.

    @dataclass(frozen=True)
    class Training(Checked):
        steps: Count = 100
        ema: Annotated[float, within("[0, 1)")] = 0.0

`Training(steps=0)` raises `ConfigError`: 'steps' must be at least 1, got 0. What several fields must fulfil together
goes into a `__post_init__` that begins with `super().__post_init__()`.

Plain typing and no library, since storage is imported by every command and on machines that have no pydantic, which
takes longer to import than `ivm --help` may take in all.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from storage.errors import ConfigError


class Rule(NamedTuple):
    """What a value must fulfil.

    Attributes:
        allowed: follows "must" in the message.
        holds: whether a value of the right kind fulfils it.
    """

    allowed: str
    holds: Callable[[Any], bool]


def at_least(low: float) -> Rule:
    """Numbers from `low` on."""
    return Rule(f"be at least {low}", lambda value: value >= low)


def above(low: float) -> Rule:
    """Numbers greater than `low`."""
    return Rule(f"be above {low}", lambda value: value > low)


def within(interval: str) -> Rule:
    """Numbers of an interval as it is written: "[0, 1)" holds 0 and not 1.

    Raises:
        ValueError: another form.
    """
    if interval[:1] not in ("[", "(") or interval[-1:] not in ("]", ")"):
        raise ValueError(f"an interval looks like '[0, 1)', got {interval!r}")
    low, high = (float(end) for end in interval[1:-1].split(","))

    def holds(value: float) -> bool:
        return (low < value < high) or (value == low and interval[0] == "[") or (value == high and interval[-1] == "]")

    return Rule(f"lie in {interval}", holds)


FILLED = Rule("not be empty", bool)
"""At least one entry, or one character."""

Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]
Share = Annotated[float, within("[0, 1]")]
Positive = Annotated[float, above(0)]
NotNegative = Annotated[float, at_least(0)]


class Checked:
    """Base of config dataclasses: a value of another kind than its field, or out of its bounds, is refused."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: with the field, the value, and what is allowed.
        """
        for name, hint in field_types(type(self)).items():
            check(hint, getattr(self, name), f"'{name}'")


_types: dict[type, dict[str, Any]] = {}


def field_types(config_class: type) -> dict[str, Any]:
    """Field -> annotation of a dataclass, with its bounds; a class is looked at once."""
    if config_class not in _types:
        hints = typing.get_type_hints(config_class, include_extras=True)
        _types[config_class] = {field.name: hints[field.name] for field in dataclasses.fields(config_class)}
    return _types[config_class]


def check(hint: Any, value: Any, name: str) -> None:
    """Refuse a value that is not what an annotation names.

    A number must be finite, and True is no number. An int may stand for a float.

    Args:
        name: of the value, for the message.

    Raises:
        ConfigError: with the name, the value, and what is allowed.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin is Annotated:
        check(args[0], value, name)
        _check_rules((rule for rule in args[1:] if isinstance(rule, Rule)), value, name)
    elif origin in (typing.Union, types.UnionType):
        _check_any(args, value, name)
    elif origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in args):
            raise refused(name, f"be one of {', '.join(map(repr, args))}", value)
    elif not _is_kind(origin or hint, value):
        raise refused(name, f"be {kind(hint)}", value)
    elif origin is tuple:
        _check_entries(args, value, name)
    elif args and isinstance(value, Mapping):
        for key, entry in value.items():
            check(args[0], key, f"a key of {name}")
            check(args[1], entry, f"{name}[{key!r}]")


def kind(hint: Any) -> str:
    """What an annotation allows, in words."""
    if typing.get_origin(hint) is Annotated:
        return kind(typing.get_args(hint)[0])
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        return "a list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", type(None): "None"}
    return words.get(origin) or f"of type {getattr(origin, '__name__', origin)}"


def refused(name: str, allowed: str, value: Any) -> ConfigError:
    """The error of a value that is not allowed."""
    return ConfigError(f"{name} must {allowed}, got {value!r}")


def _check_rules(rules: Iterable[Rule], value: Any, name: str) -> None:
    for rule in rules:
        if not rule.holds(value):
            raise refused(name, rule.allowed, value)


def _check_any(hints: tuple[Any, ...], value: Any, name: str) -> None:
    """One of several annotations; the message is the first one's where `None` is the only other."""
    errors = []
    for hint in hints:
        try:
            return check(hint, value, name)
        except ConfigError as error:
            if hint is not type(None):
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise refused(name, f"be {' or '.join(map(kind, hints))}", value)


def _check_entries(args: tuple[Any, ...], value: tuple[Any, ...], name: str) -> None:
    hints = (args[0],) * len(value) if len(args) == 2 and args[1] is Ellipsis else args
    if len(hints) != len(value):
        raise refused(name, f"have {len(hints)} entries", value)
    for place, (hint, entry) in enumerate(zip(hints, value, strict=True)):
        check(hint, entry, f"{name}[{place}]")


def _is_kind(target: Any, value: Any) -> bool:
    if target is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if target is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return not isinstance(target, type) or isinstance(value, target)
