"""The pictures of docs/policy.md: success against demonstrations, and what each arm shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.policy_found import Found
from benchmarks.policy_scenes import CROWDS, Crowd, Task
from benchmarks.policy_views import ARMS, Shown

CURVES, VIEWS = "policy.png", "policy-views.jpg"
SHOWN = 0
"""Place of the test scene that is shown."""
LINES = {
    "raw": ("#000000", "o"),
    "truth": ("#009e73", "s"),
    "model": ("#0072b2", "o"),
    "model, channel": ("#56b4e9", "^"),
    "engine": ("#e69f00", "D"),
    "other words": ("#d55e00", "x"),
}
"""Colour and marker of each arm that is trained at every number of demonstrations."""
ALONE = ("model", "engine")


def draw_curves(path: Path, found: Mapping[Task, Found], counts: Sequence[int]) -> None:
    """A panel for each task and crowd, a line an arm; dotted is what masks reach alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(CROWDS) + 1.6, 2.9 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), len(CROWDS), sharex=True, sharey=True, squeeze=False)
    for row, (task, each) in zip(panels, found.items(), strict=True):
        for axes, crowd in zip(row, CROWDS, strict=True):
            for arm, (colour, marker) in LINES.items():
                success = [each.right(arm, count, crowd).mean() for count in counts]
                axes.plot(counts, success, color=colour, marker=marker, markersize=4, linewidth=1.5, label=arm)
            for source in ALONE:
                label = f"{source}, mask alone"
                axes.axhline(each.alone(source, crowd).mean(), color=LINES[source][0], linestyle=":", label=label)
            axes.set(title=f"{task}, {crowd}", xscale="log", ylim=(0, 1.03))
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("success")
    for axes in panels[-1]:
        axes.set_xlabel("demonstrations")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_views(path: Path, tested: Mapping[Task, Mapping[Crowd, Shown]]) -> None:
    """One test scene of each task as the arms show it, a crowd a line."""
    from matplotlib.figure import Figure

    names = [name for name, arm in ARMS.items() if arm.longer == 1 and not arm.channel]
    rows = [(task, crowd, _one(shown)) for task, crowds in tested.items() for crowd, shown in crowds.items()]
    figure = Figure(figsize=(1.75 * len(names), 1.9 * len(rows) + 0.4), layout="constrained")
    panels = figure.subplots(len(rows), len(names), squeeze=False)
    for row, (task, crowd, shown) in zip(panels, rows, strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.imshow(shown.masked(ARMS[name])[0])
            axes.set(xticks=[], yticks=[])
            if axes in panels[0]:
                axes.set_title(name, fontsize="small")
        row[0].set_ylabel(f"{task}, {crowd}", fontsize="small")
        if crowd == CROWDS[0]:
            row[len(names) // 2].set_xlabel(shown.situations[0].instruction, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _one(shown: Shown) -> Shown:
    """The situation that is shown, with its masks."""
    part = slice(SHOWN, SHOWN + 1)
    made = {name: heatmap_NHW[part] for name, heatmap_NHW in shown.made.items()}
    return replace(shown, situations=shown.situations[part], made=made)
