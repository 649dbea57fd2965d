"""Draws docs/images/imports.svg from the imports of the code: `python docs/site/picture.py`.

A box is a folder with its modules, or a module beside the folders; an arrow says "imports". Arrows that follow from
others are left out: where a imports b and b imports c, no arrow leads from a to c, whether a imports it or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

PACKAGES = ("flows", "ivm_data", "ivm_model", "storage")
PICTURE = Path(__file__).parents[1] / "images" / "imports.svg"
WIDTH, HEIGHT, GAP, ROW, MARGIN, TITLE, SHIFT = 132, 32, 20, 62, 24, 28, 38
"""Pixels: of a box, between boxes, from row to row, around all, above a package's first row, of every other row."""
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Box:
    """Left and upper edge in pixels."""

    name: str
    x: float
    y: float


def read() -> Graph:
    """Box -> the boxes that it imports."""
    code = grimp.build_graph(*PACKAGES)
    box_of = {module: _box_of(code, module) for module in code.modules}
    graph: dict[str, set[str]] = {}
    for module, name in box_of.items():
        if code.find_children(module):  # a folder's own __init__ only names what its modules give
            continue
        imported = {box_of[target] for target in code.find_modules_directly_imported_by(module)}
        graph.setdefault(name, set()).update(imported - {name})
    return {name: frozenset(graph[name] & graph.keys()) for name in sorted(graph)}


def _box_of(code: grimp.ImportGraph, module: str) -> str:
    """The folder of a module; the module itself where it lies beside folders at the top of a package."""
    folder = module.rpartition(".")[0]
    if folder in PACKAGES and any(code.find_children(child) for child in code.find_children(folder)):
        return module
    return folder or module


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that follow from others (transitive reduction)."""
    reach = {name: _reached(graph, name) for name in graph}
    return {
        name: frozenset(to for to in targets if not any(to in reach[other] for other in targets - {to}))
        for name, targets in graph.items()
    }


def _reached(graph: Graph, name: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = [*graph[name]]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += graph[one]
    return frozenset(found)


def rows(graph: Graph, package: str) -> list[list[str]]:
    """The boxes of a package from top to bottom: each above all that it imports, as low as that allows."""
    own = [name for name in graph if name.partition(".")[0] == package]
    level: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((of(to) for to in graph[name] if to in own), default=-1)
        return level[name]

    highest = max(map(of, own))
    return [[name for name in own if level[name] == row] for row in range(highest, -1, -1)]


def place(graph: Graph) -> tuple[list[Box], list[tuple[str, float, float]], float]:
    """The boxes, each package's name with its upper and lower edge, and the width of the picture."""
    bands = [(package, rows(graph, package)) for package in PACKAGES]
    widest = max(len(row) for _, band in bands for row in band)
    width = widest * (WIDTH + GAP) - GAP + 2 * (MARGIN + SHIFT)
    boxes, packages, y = [], [], float(MARGIN)
    for package, band in bands:
        top, y = y, y + TITLE
        for index, row in enumerate(band):
            x = (width - len(row) * (WIDTH + GAP) + GAP) / 2 + SHIFT * (-1) ** index * (len(band) > 1)
            boxes += [Box(name, x + place * (WIDTH + GAP), y) for place, name in enumerate(row)]
            y += ROW
        packages.append((package, top, y - ROW + HEIGHT + 14))
        y += MARGIN - ROW + HEIGHT + 22
    return boxes, packages, width


def draw() -> str:
    """The picture as SVG."""
    graph = read()
    boxes, packages, width = place(graph)
    at = {box.name: box for box in boxes}
    arrows = [(at[name], at[to]) for name, targets in reduced(graph).items() for to in sorted(targets)]
    height = packages[-1][2] + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">',
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#5b6673"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        *(_package(name, top, bottom, width) for name, top, bottom in packages),
        *(_arrow(*pair) for pair in arrows),
        *map(_box, boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _package(name: str, top: float, bottom: float, width: float) -> str:
    shape = f'x="6" y="{top:g}" width="{width - 12:g}" height="{bottom - top:g}" rx="8"'
    frame = f'<rect {shape} fill="#f3f6f9" stroke="#c9d2dc"/>'
    return f'{frame}<text x="16" y="{top + 19:g}" font-size="14" font-weight="bold" fill="#24303c">{name}</text>'


def _box(box: Box) -> str:
    text = box.name.partition(".")[2] or box.name
    frame = f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="#fff" stroke="#3c6e9f"/>'
    where = f'x="{box.x + WIDTH / 2:g}" y="{box.y + 21:g}" text-anchor="middle"'
    return f'{frame}<text {where} font-size="13" fill="#24303c">{text}</text>'


def _arrow(start: Box, end: Box) -> str:
    x, y, to_x, to_y = start.x + WIDTH / 2, start.y + HEIGHT, end.x + WIDTH / 2, end.y
    bend = (to_y - y) / 2
    curve = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
    return f'<path d="{curve}" fill="none" stroke="#5b6673" stroke-opacity=".7" marker-end="url(#to)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
