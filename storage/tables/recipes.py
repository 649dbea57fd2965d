"""The configurations behind the recipes' hashes: DATA/recipes/<hash>.json."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from storage.errors import ShardError
from storage.parts import layout
from storage.parts.files import alone_in, replace
from storage.parts.layout import Problem

_HASH = re.compile(r"[0-9a-f]{12}")
_REBUILD = "move it away, and label again to rebuild it"


def write_recipe(data: Path, recipe: str, config: Mapping[str, Any]) -> Path:
    """Keep the configuration behind a recipe's hash as JSON.

    Raises:
        ShardError: the hash already stands for another configuration.
    """
    path = recipe_path(data, recipe)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with alone_in(path.parent):
        if not path.exists():
            replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
        elif _text(path) != text:
            raise ShardError(f"recipe {recipe} already stands for another configuration in '{path}'; use a new hash")
    return path


def recipe_hash(config: Mapping[str, Any], experts: Iterable[tuple[str, str]]) -> str:
    """12 hex digits over a configuration and what every expert's weights hold.

    Args:
        experts: (role, `model@revision`).
    """
    text = json.dumps([config, sorted(experts)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def recipe_path(data: Path, recipe: str) -> Path:
    """Where a recipe's configuration lies."""
    return data / "recipes" / f"{layout.name(recipe)}.json"


def load(data: Path, recipe: str) -> dict[str, Any]:
    """The configuration behind a recipe's hash; empty where the data set does not hold it.

    Raises:
        ShardError: its file is torn.
    """
    path = recipe_path(data, recipe)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ShardError(f"recipe '{path}' cannot be read ({error}); {_REBUILD}") from error


def read(data: Path) -> tuple[dict[str, str], list[Problem]]:
    """Hash -> JSON text of every recipe that can be read, and the files that cannot."""
    texts, problems = {}, []
    for path in sorted((data / "recipes").glob("*.json")):
        try:
            text = path.read_text(encoding="utf-8")
            json.loads(text)
            texts[path.stem] = text
        except (OSError, ValueError) as error:
            problems.append(Problem(path.relative_to(data), f"torn or not JSON: {error}"))
    return texts, problems


def verify(data: Path) -> list[Problem]:
    """Recipe files that cannot be read, or whose configuration is not the one that their name is the hash of.

    Only a file that lists its experts, as labeling writes it, says what it was.
    """
    texts, problems = read(data)
    for name, text in texts.items():
        found = _hash_of(json.loads(text)) if _HASH.fullmatch(name) else ""
        if found not in ("", name):
            path = recipe_path(Path(), name)
            problems.append(Problem(path, f"changed: its configuration hashes to {found}"))
    return problems


def _hash_of(config: Any) -> str:
    """The hash that a whole file stands for; "" where it does not list its experts."""
    try:
        experts = [(expert["role"], expert["name"]) for expert in config["experts"]]
    except (KeyError, TypeError):
        return ""
    return recipe_hash({name: value for name, value in config.items() if name != "experts"}, experts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"recipe '{path}' cannot be read ({error}); {_REBUILD}") from error
