"""Small SVG charts with axes from 0 to 1; colours come from the page's style sheet, so that they follow its mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 22, 12, 44
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MAX_POINTS = 200


@dataclass(frozen=True)
class Series:
    """A line through (x, y), both in [0, 1]; `style` is a CSS class."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str


@dataclass(frozen=True)
class Point:
    """A dot with a tooltip; `size` in [0, 1] scales its area."""

    x: float
    y: float
    tip: str
    size: float = 0.5


def line_chart(
    series: Sequence[Series], points: Sequence[Point], labels: tuple[str, str], diagonal: bool = False
) -> Markup:
    """Lines and dots over the unit square with a legend where there are several lines."""
    parts = [_frame(labels)]
    if diagonal:
        parts.append(f'<line class="diagonal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    for one in series:
        path = " ".join(f"{_x(x)},{_y(y)}" for x, y in zip(one.x, one.y, strict=True))
        parts.append(f'<polyline class="{one.style}" points="{path}"/>')
    for point in points:
        radius = 2 + 6 * point.size**0.5
        parts.append(
            f'<circle class="dot" cx="{_x(point.x)}" cy="{_y(point.y)}" r="{radius:.1f}">'
            f"<title>{escape(point.tip)}</title></circle>"
        )
    if len(series) > 1:
        parts += [_legend(row, one) for row, one in enumerate(series)]
    return _svg(parts, f"{labels[1]} over {labels[0]}")


def histogram(shares: Sequence[float], labels: tuple[str, str], tips: Sequence[str]) -> Markup:
    """Bars of equal width from 0 to 1; heights are relative to the highest."""
    top = max([*shares, 1e-9])
    step = (WIDTH - LEFT - RIGHT) / len(shares)
    parts = [_frame(labels, y_top=top)]
    for i, (share, tip) in enumerate(zip(shares, tips, strict=True)):
        y = _y(share / top)
        parts.append(
            f'<rect class="bar" x="{LEFT + i * step + 1:.1f}" y="{y}" width="{step - 2:.1f}" '
            f'height="{_y(0) - y:.1f}"><title>{escape(tip)}</title></rect>'
        )
    return _svg(parts, f"{labels[1]} by {labels[0]}")


def precision_at_coverage(right_N: np.ndarray) -> tuple[list[float], list[float]]:
    """Masks best first -> (coverage, precision) of keeping the first k, for at most `MAX_POINTS` values of k."""
    count = len(right_N)
    least = max(1, count // 50)
    kept = np.unique(np.linspace(least, count, min(MAX_POINTS, count)).astype(int)) if count else np.array([], int)
    return (kept / max(count, 1)).tolist(), (np.cumsum(right_N)[kept - 1] / kept).tolist()


def _frame(labels: tuple[str, str], y_top: float = 1.0) -> str:
    parts = []
    for tick in TICKS:
        parts.append(f'<line class="grid" x1="{_x(0)}" y1="{_y(tick)}" x2="{_x(1)}" y2="{_y(tick)}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{_y(tick) + 4:.1f}" text-anchor="end">{_percent(tick * y_top)}</text>')
        parts.append(f'<text x="{_x(tick)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_percent(tick)}</text>')
    parts.append(f'<text class="label" x="{_x(0.5)}" y="{HEIGHT - 6}" text-anchor="middle">{escape(labels[0])}</text>')
    return "".join(parts)


def _legend(row: int, one: Series) -> str:
    y = HEIGHT - BOTTOM - 14 - 16 * row
    return (
        f'<line class="{one.style}" x1="{LEFT + 10}" y1="{y - 4}" x2="{LEFT + 30}" y2="{y - 4}"/>'
        f'<text x="{LEFT + 36}" y="{y}">{escape(one.name)}</text>'
    )


def _svg(parts: Sequence[str], title: str) -> Markup:
    body = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>')


def _x(value: float) -> float:
    return round(LEFT + value * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float) -> float:
    return round(HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM), 1)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"
