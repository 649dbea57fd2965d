"""Tables of systems as Markdown for people and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from ivm_data.evaluation.downstream import AnswerTable
from ivm_data.evaluation.mask_table import GROUPINGS, MaskTable
from ivm_model.metrics.tally import SCORES, Interval
from storage.common.markdown import markdown_table
from storage.disk.publish import write_text
from storage.display import markdown
from storage.errors import ConfigError

SUFFIXES = (".md", ".json")
TITLES = dict(
    zip(SCORES, ("gIoU", "cIoU", "Acc@0.5", "box Acc@0.5", "cgF1", "pmF1", "IL_MCC", "no-target acc"), strict=True)
)


def check_suffix(out: Path) -> None:
    """Refuse a report file that is neither Markdown nor JSON.

    Raises:
        ConfigError: with the choices.
    """
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"a report ends in {' or '.join(SUFFIXES)}, got '{out}'")


def write(table: MaskTable | AnswerTable, out: Path) -> Path:
    """Write a table as its path's suffix says.

    Raises:
        ConfigError: neither .md nor .json.
    """
    check_suffix(out)
    if isinstance(table, MaskTable):
        text = masks_markdown(table) if out.suffix == ".md" else _json(_mask_facts(table))
    else:
        text = answers_markdown(table) if out.suffix == ".md" else _json(table.facts())
    return write_text(out, text)


def masks_markdown(table: MaskTable) -> str:
    """All scores, the differences to the first system, and gIoU, Acc@0.5 and cgF1 by each grouping."""
    systems, three = list(table.tallies), ("giou", "acc", "cgf1")
    blocks = [
        f"# Masks on {markdown(table.manifest)}",
        f"{len(table.ids)} questions about {len(set(table.images))} images; {len(table.bad)} records could not be used "
        f"and {table.unmarked} have no mask to score on. In parentheses: 95 % bootstrap intervals over images.",
        markdown_table(
            ["system", *TITLES.values()], [[markdown(n), *map(cell, s.values())] for n, s in table.overall().items()]
        ),
    ]
    if len(systems) > 1:
        rows = [[markdown(n), *map(signed, s.values())] for n, s in table.differences().items()]
        blocks += [
            f"## Difference to {markdown(systems[0])}, paired",
            markdown_table(["system", *TITLES.values()], rows),
        ]
    for grouping in GROUPINGS:
        groups = table.by(grouping)
        shown = [
            [markdown(group), str(table.groups[grouping].count(group)), markdown(name), *[cell(s[k]) for k in three]]
            for group, members in groups.items()
            for name, s in members.items()
        ]
        blocks += [
            f"## By {grouping}",
            markdown_table([grouping, "questions", "system", "gIoU", "Acc@0.5", "cgF1"], shown),
        ]
    return "\n\n".join(blocks) + "\n"


def answers_markdown(table: AnswerTable) -> str:
    """Accuracy of every view, overall and by group, and the difference to the whole image."""
    blocks = [
        f"# Answers of {markdown(table.lmm)} on {markdown(table.data)}, by {table.mode}",
        f"{len(table.questions)} questions; {len(table.bad)} could not be used. In parentheses: 95 % Wilson intervals; "
        "of differences, 95 % bootstrap intervals over questions, and the exact McNemar test.",
    ]
    for group in ("", *sorted(set(table.groups)) * (len(set(table.groups)) > 1)):
        rows = []
        for view, answers in table.views.items():
            versus = table.versus_whole(view, group)
            change = ["", ""] if versus is None else [signed(versus[0]), f"{versus[1]:.3g}"]
            masked, unread = f"{table.found(view, group):.2f}", str(answers.unread)
            rows.append([markdown(view), cell(table.accuracy(view, group)), *change, masked, unread])
        columns = ["view", "accuracy", "difference to whole image", "p", "mask found", "unread"]
        blocks += [f"## {markdown(group) or 'All questions'}", markdown_table(columns, rows)]
    return "\n\n".join(blocks) + "\n"


def cell(value: Interval) -> str:
    """ "0.503 (0.421 to 0.588)"; "-" where it is not defined."""
    return "-" if math.isnan(value.value) else f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def signed(value: Interval) -> str:
    """As `cell`, with the sign of a difference."""
    return "-" if math.isnan(value.value) else f"{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _mask_facts(table: MaskTable) -> dict[str, Any]:
    answers = {name: tally_NK[:, 1].tolist() for name, tally_NK in table.tallies.items()}
    return {
        "manifest": table.manifest,
        "questions": len(table.ids),
        "images": len(set(table.images)),
        "bad": table.bad,
        "unmarked": table.unmarked,
        "overall": table.overall(),
        "differences_to_first": table.differences(),
        "by": {grouping: table.by(grouping) for grouping in GROUPINGS},
        "samples": [
            {"id": id_, "image": image, "iou": {name: iou_N[i] for name, iou_N in answers.items()}}
            for i, (id_, image) in enumerate(zip(table.ids, table.images, strict=True))
        ],
    }


def _json(facts: Any) -> str:
    return json.dumps(_plain(facts), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """NaN becomes null, a dataclass an object."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
