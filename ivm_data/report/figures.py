"""The paper's figures about a data set, a file each: quantity against area (Figure 5) and against D (Figure 10b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ivm_data.outputs import FIGURE
from storage.catalog import Catalog
from storage.common.extras import extra
from storage.disk.publish import whole_file
from storage.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ivm_data.quality.fit_calibration import Bin

_FIGURES = {
    "area": ("area_histogram", "area_from", "share of the image that the instruction needs"),
    "weights": ("weights_by_source", "d_from", "discriminator output D, P(the mask is human)"),
}
_MAKER = {".svg": "Creator", ".png": "Software", ".pdf": "Creator"}
"""Suffix -> where the format says what made the file."""


def draw(catalog: Catalog, name: str, out: Path, values: Mapping[str, Any] | None = None) -> None:
    """Draw labels per bin of [0, 1], a line for each source.

    Args:
        name: "area" or "weights".
        out: file to write; its suffix says the format.
        values: parameters of the query behind the figure.

    Raises:
        ConfigError: an unknown figure, format or parameter, or nothing to draw.
    """
    if name not in _FIGURES:
        raise ConfigError(f"no figure {name!r}; the figures are: {', '.join(_FIGURES)}")
    _check(out)
    query, start, label = _FIGURES[name]
    table = catalog.query(query, **(values or {}))
    if not len(table):
        missing = "labels with a mask" if name == "area" else "weights; train with a weighting that has a discriminator"
        raise ConfigError(f"nothing to draw: the data set has no {missing}")
    _write(_lines(table, start), label, out)


def draw_reliability(lines: Mapping[str, Sequence[Bin]], out: Path) -> None:
    """Draw mean quality against the share of right labels, a line for each name; on the diagonal they are equal.

    Raises:
        ConfigError: an unknown format.
    """
    _check(out)
    with extra("figures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, bins in lines.items():
        most = max((each.labels for each in bins), default=1)
        quality, share = [each.quality for each in bins], [each.right_share for each in bins]
        (line,) = axes.plot(quality, share, linewidth=1.2, label=f"{name} ({sum(each.labels for each in bins):,})")
        axes.scatter(quality, share, [8 + 80 * each.labels / most for each in bins], color=line.get_color())
    axes.set(xlabel="quality", ylabel="share of right labels", xlim=(0, 1), ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    _save(figure, out)


def _check(out: Path) -> None:
    if out.suffix not in _MAKER:
        raise ConfigError(f"the figure's file must end in one of {', '.join(_MAKER)}, got '{out}'")


def _save(figure: Figure, out: Path) -> None:
    with whole_file(out) as hidden:
        figure.savefig(hidden, format=out.suffix.removeprefix("."), dpi=150, metadata={_MAKER[out.suffix]: FIGURE})


def _lines(table: pa.Table, start: str) -> dict[str, tuple[list[float], list[float]]]:
    """Line name -> (left edges, labels), most labels first; of several discriminators each has its lines."""
    several = "discriminator" in table.column_names and len(set(table["discriminator"].to_pylist())) > 1
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in table.to_pylist():
        name = f"{row['discriminator']}, {row['source']}" if several else row["source"]
        edges, labels = lines.setdefault(name or "(no source)", ([], []))
        edges.append(row[start])
        labels.append(row["labels"])
    return dict(sorted(lines.items(), key=lambda line: -sum(line[1][1])))


def _write(lines: Mapping[str, tuple[list[float], list[float]]], label: str, out: Path) -> None:
    with extra("figures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (edges, labels) in lines.items():
        axes.stairs(labels, [*edges, 1.0], label=f"{name} ({sum(labels):,})", linewidth=1.8)
    axes.set(xlabel=label, ylabel="labels", xlim=(0, 1), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", ncols=1 + (len(lines) > 8))
    _save(figure, out)
