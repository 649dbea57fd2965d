"""The model card of an embedded expert: what it is, how it was trained, what it scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storage.common.markdown import markdown_table

_TEMPLATE = """\
# {title}

{description}

Parameters: {parameters}. Trained {origin} in {minutes:.0f} minutes of one CPU thread.

## Held-out scores

{scores}

## Settings

{settings}
"""


def write_card(  # noqa: PLR0917
    directory: Path,
    title: str,
    description: str,
    scores: Mapping[str, float],
    settings: Mapping[str, object],
    minutes: float,
    origin: str = "from nothing",
) -> Path:
    """Write `README.md` beside the weights; the directory must hold `model.safetensors`.

    Args:
        scores: held-out scores by name, shown with three decimals.
        settings: options of the training; paths and None are left out, they say nothing elsewhere.
        minutes: wall-clock time of the training.
        origin: what it began with.
    """
    path = directory / "README.md"
    path.write_text(
        _TEMPLATE.format(
            title=title,
            description=description.strip(),
            parameters=f"{count_parameters(directory / 'model.safetensors'):,}",
            minutes=minutes,
            origin=origin,
            scores=markdown_table(("score", "value"), list(scores.items())),
            settings=markdown_table(
                ("setting", "value"),
                [(name, str(value)) for name, value in settings.items() if not isinstance(value, Path | None)],
            ),
        ),
        encoding="utf-8",
    )
    return path


def count_parameters(safetensors: Path) -> int:
    """Number of scalars in a safetensors file, from its header alone."""
    from math import prod

    from safetensors import safe_open

    with safe_open(safetensors, framework="np") as tensors:
        names = tensors.keys()
        return sum(prod(tensors.get_slice(name).get_shape()) for name in names)
