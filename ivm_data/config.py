"""Plain values <-> frozen config dataclasses: checked, with errors that name the field and the choices."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, TypeVar

from storage.common.near import meant
from storage.common.validation import check, field_types, kind, refused
from storage.errors import ConfigError

Config = TypeVar("Config")


def build(config_class: type, values: Mapping[str, Any], where: str) -> Any:
    """A config of `config_class` from plain values; nested mappings become nested configs.

    Raises:
        ConfigError: an unknown field, a missing one, or a value of the wrong kind or out of bounds.
    """
    hints = field_types(config_class)
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where} has no option {unknown[0]!r}; choose from {', '.join(fields)}{meant(unknown[0], fields)}"
        )
    missing = [n for n, f in fields.items() if _required(f) and n not in values]
    if missing:
        raise ConfigError(f"{where} needs option {missing[0]!r}")
    return config_class(**{name: coerce(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of a config with dotted fields replaced: `{"gate.accept": "0.9"}`; text is read as the field's type.

    Entries of a tuple go by their position: `{"proposers.0.options.device": "cpu"}`. A whole tuple is text with commas
    or a JSON list, a mapping or a config a JSON object. All changes are made at once, so their order says nothing.

    Raises:
        ConfigError: a path that does not exist, or a value of the wrong kind or out of bounds.
    """
    tree = _Changes()
    for path, value in changes.items():
        tree.add(path, value)
    changed: Config = tree.applied(type(config), config)
    return changed


def coerce(hint: Any, value: Any, where: str) -> Any:
    """A plain value, or its text, as the type that an annotation names, checked by it.

    Raises:
        ConfigError: it cannot be read as that, or is out of bounds.
    """
    read = _read(hint, value, where)
    check(hint, read, where)
    return read


def _read(hint: Any, value: Any, where: str) -> Any:
    """The value as the annotation's type where it is written otherwise; what cannot be read stays, for `check`."""
    target = _target(hint, value)
    origin, args = typing.get_origin(target), typing.get_args(target)
    if value is None or target is Any:
        return value
    if origin is tuple:
        return _entries(args, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: coerce(args[1], entry, f"{where}.{key}") for key, entry in _object(value, where).items()}
    if isinstance(target, type) and dataclasses.is_dataclass(target):
        return value if isinstance(value, target) else build(target, _object(value, where), where)
    if isinstance(target, type) and issubclass(target, Enum):
        return _one_of(target, value, where)
    return _scalar(target, value, where)


def _target(hint: Any, value: Any) -> Any:
    """The annotation without its bounds, and without `None` or other choices that the value is not."""
    if typing.get_origin(hint) is Annotated:
        return _target(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    options = [_target(option, value) for option in typing.get_args(hint) if option is not type(None)]
    return next((option for option in options if isinstance(option, type) and isinstance(value, option)), options[0])


def _entries(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, str):
        value = _json(value, where) if value.lstrip().startswith("[") else _split(value)
    if not isinstance(value, Sequence):
        return value
    hints = args if len(args) == len(value) and Ellipsis not in args else (args[0],) * len(value)
    return tuple(
        coerce(hint, entry, f"{where}.{place}") for place, (hint, entry) in enumerate(zip(hints, value, strict=True))
    )


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",")] if text.strip() else []


def _object(value: Any, where: str) -> Mapping[str, Any]:
    found = _json(value, where) if isinstance(value, str) else value
    if not isinstance(found, Mapping):
        raise refused(where, "be a mapping, as text a JSON object", value)
    return found


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(where, f"be JSON ({error})", text) from error


def _scalar(target: Any, value: Any, where: str) -> Any:
    if target is bool:
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
    if target is str:
        return str(value) if isinstance(value, int | float | os.PathLike) and not isinstance(value, bool) else value
    if target is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(target, type) and isinstance(value, str) and not isinstance(value, target):
        try:
            return target(value)
        except (TypeError, ValueError) as error:
            raise refused(where, f"be {kind(target)}", value) from error
    return value


def _one_of(choices: type[Enum], value: Any, where: str) -> Enum:
    try:
        return choices(value)
    except ValueError as error:
        raise refused(where, f"be one of {', '.join(repr(choice.value) for choice in choices)}", value) from error


class _Changes:
    """New values by dotted path, as a tree: a node may have a new value, new values of what is in it, or both."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.new: tuple[Any, ...] = ()
        self.inner: dict[str, _Changes] = {}

    def add(self, path: str, value: Any) -> None:
        node = self
        for name in path.split("."):
            node = node.inner.setdefault(name, _Changes(f"{node.path}.{name}".lstrip(".")))
        node.new = (value,)

    def applied(self, hint: Any, old: Any) -> Any:
        """What was `old` with the changes made.

        Args:
            hint: its annotation.
        """
        if self.new:
            old = coerce(hint, self.new[0], self.path)
        if not self.inner:
            return old
        if isinstance(old, tuple):
            return self._tuple(hint, old)
        if isinstance(old, Mapping) or (old is None and hint is Any):
            return self._mapping(hint, old or {})
        if not dataclasses.is_dataclass(old):
            first = next(iter(self.inner.values()))
            raise ConfigError(f"no field {first.path!r}: {self.path!r} is {old!r}, which has no fields")
        return self._config(old)

    def _config(self, old: Any) -> Any:
        hints = field_types(type(old))
        for name, changes in self.inner.items():
            if name not in hints:
                raise ConfigError(
                    f"no field {name!r} in {changes.path!r}; choose from {', '.join(hints)}{meant(name, hints)}"
                )
        new = {name: changes.applied(hints[name], getattr(old, name)) for name, changes in self.inner.items()}
        return dataclasses.replace(old, **new)

    def _tuple(self, hint: Any, old: tuple[Any, ...]) -> tuple[Any, ...]:
        places = [str(place) for place in range(len(old))]
        for name, changes in self.inner.items():
            if name not in places:
                raise ConfigError(f"no entry {name!r} in {changes.path!r}; choose from {', '.join(places) or 'none'}")
        args = typing.get_args(_target(hint, old)) or (Any, ...)
        hints = args if Ellipsis not in args else (args[0],) * len(old)
        unchanged = _Changes()
        return tuple(
            self.inner.get(place, unchanged).applied(hint, entry)
            for place, hint, entry in zip(places, hints, old, strict=True)
        )

    def _mapping(self, hint: Any, old: Mapping[str, Any]) -> dict[str, Any]:
        args = typing.get_args(_target(hint, old))
        entry_hint = args[1] if len(args) == 2 else Any
        return {**old, **{key: changes.applied(entry_hint, old.get(key)) for key, changes in self.inner.items()}}


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
