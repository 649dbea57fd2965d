"""The configurations behind the recipes' hashes: DATA/recipes/<hash>.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage import layout
from storage.errors import ShardError
from storage.files import alone_in, replace
from storage.layout import Problem


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
        elif path.read_text(encoding="utf-8") != text:
            raise ShardError(f"recipe {recipe} already stands for another configuration in '{path}'; use a new hash")
    return path


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
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ShardError(
            f"recipe '{path}' cannot be read ({error}); move it away and label again to rebuild it"
        ) from error


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
