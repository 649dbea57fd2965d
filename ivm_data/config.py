"""Plain values <-> frozen config dataclasses: checked, with errors that name the field and the choices."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from storage.errors import ConfigError


def build(config_class: type, values: Mapping[str, Any], where: str) -> Any:
    """A config of `config_class` from plain values; nested mappings become nested configs.

    Raises:
        ConfigError: an unknown field, a missing one, or a value of the wrong type.
    """
    hints = typing.get_type_hints(config_class)
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{where} has no option {unknown[0]!r}; choose from {', '.join(fields)}")
    missing = [n for n, f in fields.items() if _required(f) and n not in values]
    if missing:
        raise ConfigError(f"{where} needs option {missing[0]!r}")
    return config_class(**{name: coerce(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def override(config: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of a config with dotted fields replaced: `{"gate.accept": "0.9"}`; text is read as the field's type.

    Entries of a tuple go by their position: `{"proposers.0.options.device": "cpu"}`.

    Raises:
        ConfigError: a path that does not exist, or a value of the wrong type.
    """
    for path, value in changes.items():
        config = _replace(config, path.split("."), value, path)
    return config


def coerce(hint: Any, value: Any, where: str) -> Any:
    """A value as the type that the annotation names: bool, int, float, str, Literal, optional, or a nested config."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    target = next(option for option in options if option is not type(None))
    if typing.get_origin(target) is typing.Literal:
        return _one_of(typing.get_args(target), value, where)
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        return build(target, value, where) if isinstance(value, Mapping) else value
    if target is bool:
        return _one_of((True, False), {"true": True, "false": False}.get(str(value).lower(), value), where)
    if target in (int, float, str) and not isinstance(value, target):
        try:
            return target(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where} must be {target.__name__}, got {value!r}") from error
    return value


def _replace(config: Any, path: list[str], value: Any, whole: str) -> Any:
    name, *rest = path
    if isinstance(config, Mapping):
        return {**config, name: _replace(config[name], rest, value, whole) if rest else value}
    if isinstance(config, tuple):
        places = [str(place) for place in range(len(config))]
        if name not in places or not rest:
            raise ConfigError(f"no entry {name!r} in {whole!r}; choose from {', '.join(places) or 'none'}")
        at = int(name)
        return (*config[:at], _replace(config[at], rest, value, whole), *config[at + 1 :])
    names = [f.name for f in dataclasses.fields(config)]
    if name not in names:
        raise ConfigError(f"no field {name!r} in {whole!r}; choose from {', '.join(names)}")
    if rest:
        new = _replace(getattr(config, name), rest, value, whole)
    else:
        new = coerce(typing.get_type_hints(type(config))[name], value, whole)
    return dataclasses.replace(config, **{name: new})


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in choices:
        raise ConfigError(f"{where} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
