"""One record of our own manifest, JSONL or a table -> a `ManifestRow` with its types checked."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources import manifest_parts as parts
from ivm_data.sources.manifest_columns import NEEDED, SEPARATORS, Columns
from ivm_data.sources.manifest_keys import TABLE_KEYS, misnamed, truth
from ivm_data.sources.manifest_moments import moment
from storage.errors import ConfigError, InputError
from storage.records import Moment

MAX_INSTRUCTION = 2000
"""Characters that an instruction may have."""


@dataclass(frozen=True)
class ManifestRow:
    """A readable record; `targets`, `mask` and `ignore` stay as given, None where absent.

    With `error` it stands for a record that an import could not read, and has neither image nor instruction.
    `instruction` is in Unicode's NFC, so that one text in two encodings is one instruction, without blanks at its ends.
    """

    image: str
    instruction: str
    source: str
    kind: str = ""
    difficulty: str = ""
    held_out: bool = False
    targets: Any = None
    mask: Any = None
    ignore: Any = None
    error: str = ""
    moment: Moment | None = None


def parser(manifest: Path) -> Callable[[bytes], ManifestRow]:
    """A function from a record's bytes to its `ManifestRow`, which raises InputError `bad_manifest_line`.

    Raises:
        ConfigError: no usable manifest, or a table whose columns are not all that is needed, or look like a key.
    """
    columns, source = parts.columns_of(manifest), parts.dataset_name(manifest)
    if columns is not None:
        _check_columns(manifest, columns)

    def parse(raw: bytes) -> ManifestRow:
        try:
            text = raw.decode("utf-8-sig")
            fields = _fields(text, columns) if columns else json.loads(text)
        except (ValueError, RecursionError, csv.Error) as error:
            raise InputError("bad_manifest_line", f"{error}; it begins {raw[:60]!r}") from error
        if not isinstance(fields, dict):
            raise InputError("bad_manifest_line", f"an object is needed, got {type(fields).__name__}: {raw[:60]!r}")
        return _row(fields, source)

    return parse


def tidy_instruction(text: str) -> str:
    """An instruction as it is kept: in Unicode's NFC, without blanks at its ends."""
    return unicodedata.normalize("NFC", text).strip()


def _check_columns(manifest: Path, columns: Columns) -> None:
    names, keys = columns.names, columns.keys
    if not any(names):
        raise ConfigError(
            f"'{manifest}' is empty; its first line must name the columns, 'image' and 'instruction' among them"
        )
    if missing := [key for key in NEEDED if key not in keys]:
        raise ConfigError(
            f"'{manifest}' has the columns {list(names)}, and none of them can be the {' or the '.join(missing)}; call "
            "one 'image' and one 'instruction' in its first line, with commas, semicolons or tabs between them"
        )
    if len(set(keys)) < len(keys):
        raise ConfigError(f"'{manifest}' has the columns {list(names)}; each name may come once")
    if problem := misnamed(keys):
        raise ConfigError(f"'{manifest}': {problem}")
    if unread := {"ignore", "error"} & set(keys):
        raise ConfigError(
            f"'{manifest}' has the column {min(unread)!r}, which only JSONL can hold; a CSV has {', '.join(TABLE_KEYS)}"
        )


def _fields(text: str, columns: Columns) -> dict[str, Any]:
    (values,) = csv.reader([text], delimiter=columns.separator)
    if len(values) != len(columns.keys):
        between = SEPARATORS[columns.separator]
        raise ValueError(
            f"{len(values)} fields for {len(columns.keys)} columns; put fields with {between} in double quotes"
        )
    given = dict(zip(columns.keys, values, strict=True))
    fields: dict[str, Any] = {name: given[name] for name in TABLE_KEYS if name in given}
    for name in ("mask", "targets"):
        if not fields.get(name, "").strip():
            fields.pop(name, None)
    if "targets" in fields:
        fields["targets"] = json.loads(fields["targets"])
    return fields


def _row(fields: dict[str, Any], source: str) -> ManifestRow:
    origin = fields.get("source") or source
    if fields.get("error"):
        return ManifestRow("", "", _source(origin, source), error=_text("error", fields["error"]))
    if problem := misnamed(fields):
        raise InputError("bad_manifest_line", problem)
    if not fields.get("image"):
        raise InputError("bad_manifest_line", f"'image' is missing; the keys are {', '.join(map(repr, fields))[:200]}")
    return ManifestRow(
        image=_text("image", fields["image"]),
        instruction=tidy_instruction(_text("instruction", fields.get("instruction"))),
        source=_source(origin, source),
        kind=_text("kind", fields.get("kind") or ""),
        difficulty=_text("difficulty", fields.get("difficulty") or ""),
        held_out=_held_out(fields),
        targets=fields.get("targets"),
        mask=fields.get("mask"),
        ignore=fields.get("ignore"),
        moment=_moment(fields),
    )


def _moment(fields: dict[str, Any]) -> Moment | None:
    try:
        return moment(fields)
    except ValueError as error:
        raise InputError("bad_manifest_line", str(error)) from error


def _held_out(fields: dict[str, Any]) -> bool:
    try:
        return truth("held_out", fields.get("held_out"))
    except ValueError as error:
        raise InputError("bad_manifest_line", str(error)) from error


def _source(origin: object, default: str) -> str:
    return _text("source", origin.get("dataset", default) if isinstance(origin, dict) else origin)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError("bad_manifest_line", f"'{name}' must be a string, got {json.dumps(value)[:60]}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError("bad_manifest_line", f"'{name}' holds half of a surrogate pair: {error}") from error
    if "\x00" in value:
        raise InputError("bad_manifest_line", f"'{name}' holds a NUL character")
    return value


def check_instruction(instruction: str) -> None:
    """Raise InputError `instruction_empty` (no letter or digit) or `instruction_too_long`."""
    if not any(character.isalnum() for character in instruction):
        raise InputError("instruction_empty", f"the instruction {instruction[:60]!r} has no words")
    if len(instruction) > MAX_INSTRUCTION:
        raise InputError("instruction_too_long", f"{len(instruction)} characters, at most {MAX_INSTRUCTION} are read")
