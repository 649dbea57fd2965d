"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from storage.errors import ConfigError

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of a labeled data set.", show_default=False)]
BaseModels = Annotated[
    list[str],
    typer.Option("--set", help="Where a base model lies, or its dtype: sam=DIR, lmm=DIR, dtype=bfloat16; repeat it."),
]
MaskingModel = Annotated[
    str, typer.Option(help="zoo:ivm, a checkpoint folder that training wrote, a hub id, or IVM-V1.0.bin.")
]
OWN_MODEL = "zoo:ivm"
"""The embedded masking model, where none is named."""
BASE_MODELS = ("sam", "lmm", "dtype")
Changes = Annotated[list[str], typer.Option("--set", help="Replace a field of the recipe: gate.accept=0.9")]

NamedGate = Annotated[
    str | None,
    typer.Option(
        "--gate", help="Name or hash of a gate that decides; 'written' for none.", show_default="the current one"
    ),
]


def parse_changes(changes: list[str]) -> dict[str, str]:
    """`["a.b=1"]` -> `{"a.b": "1"}`."""
    for change in changes:
        if "=" not in change:
            raise ConfigError(f"expected FIELD=VALUE, got {change!r}; for example gate.accept=0.9")
    return dict(change.split("=", 1) for change in changes)


def recipe_options(recipe: str, changes: Mapping[str, str]) -> str:
    """How a recipe is named on a command line: `--recipe small --set gate.accept=0.9`."""
    return " ".join(
        ["--recipe", recipe, *(f"--set {shlex.quote(f'{name}={value}')}" for name, value in changes.items())]
    )


def parse_base_models(changes: list[str]) -> dict[str, str]:
    """`["lmm=DIR"]` -> `{"lmm": "DIR"}`, as `Predictor.from_pretrained` takes it.

    Raises:
        ConfigError: another field.
    """
    given = parse_changes(changes)
    if unknown := sorted(given.keys() - set(BASE_MODELS)):
        raise ConfigError(f"a model has no option {unknown[0]!r} here; choose from {', '.join(BASE_MODELS)}")
    return given
