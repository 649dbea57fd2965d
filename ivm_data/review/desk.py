"""One person at work on the labels of one recipe: what is next, what a label looks like, what was decided."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.config import build, override
from ivm_data.experts.common.protocols import Segmenter
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.quality.reviewer_agreement import agreements
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.review.clicks import Click, apply_clicks
from storage import layout, recipes, reviews
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import BATCH_PIXELS, decode
from storage.reader import among
from storage.records import Label, Review, Rle, Verdict

QUEUE = 200
"""Labels that are ranked at once; the ranking is made anew when they are done."""

_KEPT = 8
"""Labels kept decoded, the next ones and some to go back to; fewer where their images are huge."""

_MINE = "SELECT sample_id, verdict FROM opinions WHERE recipe = $recipe AND reviewer = $reviewer ORDER BY reviewed_at"
_LABELS = "SELECT count(*) AS n FROM labels WHERE recipe = $recipe"


@dataclass(frozen=True, eq=False)
class Sheet:
    """A label with its decoded image, HWC uint8 RGB."""

    label: Label
    image_HWC: np.ndarray


class Desk:
    """Answers and writes for one reviewer; safe for several threads.

    Args:
        recipe: hash of the recipe; may be left out where the data set holds only one.
        changes: dotted fields of the segmenter's spec to replace, `{"options.device": "cpu"}`.

    Raises:
        ConfigError: no labels, a recipe that is not there, or a name that cannot be a file's.
    """

    def __init__(
        self, data: Path, reviewer: str, recipe: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        self.data, self.reviewer = data, layout.name(reviewer)
        self.opened = DataSet.open(data, recipe)
        self.recipe = self.opened.recipe
        with Catalog(self.opened) as catalog:
            mine = catalog.sql(_MINE, recipe=self.recipe, reviewer=reviewer).to_pylist()
            self.total = catalog.sql(_LABELS, recipe=self.recipe)["n"][0].as_py()
        self._changes = changes or {}
        self._opinions = {row["sample_id"]: row["verdict"] for row in mine}
        self._parts: dict[str, str] = {}
        self._sheets: OrderedDict[tuple[str, str], Sheet] = OrderedDict()
        self._lock = threading.RLock()

    def queue(self, **filters: Any) -> dict[str, Any]:
        """The next labels without an opinion of this person, the agreement with others, and what can be filtered.

        Args:
            **filters: parameters of the named query `review_queue`.
        """
        chosen = {"recipe": self.recipe, "reviewer": self.reviewer, "limit": QUEUE} | filters
        with Catalog(self.reopened()) as catalog:
            newest = newest_discriminator(self.data)
            rows = catalog.query("review_queue", discriminator=newest, **chosen).to_pylist()
            agreed = [asdict(each) for each in agreements(catalog, self.recipe)]
            choices = {
                column: catalog.sql(
                    f"SELECT DISTINCT {column} AS v FROM labels WHERE recipe = $recipe ORDER BY v LIMIT 100",
                    recipe=self.recipe,
                )["v"].to_pylist()
                for column in ("status", "source", "kind")
            }
        return {"items": rows, "choices": choices, "agreement": agreed, **self.progress()}

    def progress(self) -> dict[str, Any]:
        """How many labels there are and how many have this person's opinion."""
        return {"reviewer": self.reviewer, "total": self.total, "reviewed": len(self._opinions)}

    def sheet(self, part: str, sample_id: str) -> Sheet:
        """A label to look at.

        Raises:
            ConfigError: there is no such label.
        """
        key = layout.name(part), layout.name(sample_id)
        with self._lock:
            if key not in self._sheets:
                label = self.opened.label(*key) or self.reopened().label(*key)
                if label is None:
                    raise ConfigError(f"part {part!r} has no label {sample_id!r}; load the page again")
                self._sheets[key] = Sheet(label, decode(label.sample.image))
            self._sheets.move_to_end(key)
            while len(self._sheets) > 1 and (len(self._sheets) > _KEPT or self._pixels() > BATCH_PIXELS):
                self._sheets.popitem(last=False)
            return self._sheets[key]

    def _pixels(self) -> int:
        return sum(sheet.image_HWC.shape[0] * sheet.image_HWC.shape[1] for sheet in self._sheets.values())

    def opinion(self, sample_id: str) -> str | None:
        """What this person said of a label."""
        return self._opinions.get(sample_id)

    def clicked(self, sheet: Sheet, clicks: Sequence[Click], *, empty: bool) -> Rle:
        """The label's mask, or an empty one, changed by clicks.

        Raises:
            ConfigError: a click outside the image.
        """
        height, width = sheet.image_HWC.shape[:2]
        for click in clicks:
            if max(click.x, click.x1) > width or max(click.y, click.y1) > height:
                raise ConfigError(f"a click at ({click.x:.0f}, {click.y:.0f}) lies outside {width}x{height} pixels")
        start_HW = np.zeros((height, width), bool) if empty else rle.decode(sheet.label.mask)
        with self._lock:
            return rle.encode(apply_clicks(self.segmenter, sheet.image_HWC, start_HW, clicks))

    def decide(self, sheet: Sheet, verdict: Verdict, *, note: str = "", mask: Rle | None = None) -> Review:
        """Append an opinion."""
        sample_id = sheet.label.sample.id
        with self._lock:
            review = reviews.append(self.data, self.recipe, sample_id, self.reviewer, verdict, note=note, mask=mask)
            self._opinions.pop(sample_id, None)
            self._opinions[sample_id] = verdict
        return review

    def undo(self) -> dict[str, str] | None:
        """Take back the latest opinion that stands, by one more row; None where there is none."""
        with self._lock:
            if not self._opinions:
                return None
            sample_id, verdict = next(reversed(self._opinions.items()))
            reviews.append(self.data, self.recipe, sample_id, self.reviewer, "withdrawn")
            del self._opinions[sample_id]
        return {"sample_id": sample_id, "part": self._part(sample_id), "verdict": verdict}

    def reopened(self) -> DataSet:
        """The labels, reviews and weights that there are by now."""
        with self._lock:
            self.opened = DataSet.open(self.data, self.recipe)
        return self.opened

    @cached_property
    def segmenter(self) -> Segmenter:
        """The recipe's segmenter; the embedded one where the data set does not hold its recipe."""
        spec, config = demo().segmenter, recipes.load(self.data, self.recipe)
        if config:
            spec = build(ExpertSpec, config["segmenter"], str(recipes.recipe_path(self.data, self.recipe)))
        return get(override(spec, self._changes))

    def _part(self, sample_id: str) -> str:
        rows = self.opened.light_batches(["part"], among("sample_id", [sample_id]))
        return next((part for batch in rows for part in batch["part"].to_pylist()), "")


def newest_discriminator(data: Path) -> str:
    """The discriminator whose weights were written last; "" where there is none."""
    files = list((data / "weights").glob("*/*.parquet"))
    return max(files, key=lambda path: path.stat().st_mtime_ns).parent.name if files else ""
