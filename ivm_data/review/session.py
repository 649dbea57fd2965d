"""One person's review of the labels of one recipe: the queue, a label decoded, the verdicts."""

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
from ivm_data.quality.regate import current
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
from storage.records import Drawn, Label, Review, Rle, Verdict
from storage.validation import Checked, Natural, Share

QUEUE = 200
"""Labels that are ranked at once; they are ranked again when these are done."""

_KEPT = 8
"""Labels kept decoded, the next ones and some to go back to; fewer where their images are huge."""

_MINE = "SELECT sample_id, verdict FROM opinions WHERE recipe = $recipe AND reviewer = $reviewer ORDER BY reviewed_at"
_LABELS = "SELECT count(*) AS n FROM labels WHERE recipe = $recipe"


@dataclass(frozen=True)
class Order(Checked):
    """How a session brings labels.

    Attributes:
        random: in random order, which alone makes verdicts a sample; else the most informative first.
        limit: labels to bring in all; 0 for no limit.
        above: least quality.
    """

    random: bool = False
    limit: Natural = 0
    above: Share = 0.0


@dataclass(frozen=True, eq=False)
class ShownLabel:
    """A label with its decoded image, HWC uint8 RGB."""

    label: Label
    image_HWC: np.ndarray


class ReviewSession:
    """Answers and writes for one reviewer; safe for several threads.

    Args:
        recipe: hash of the recipe; may be left out where the data set holds only one.
        changes: dotted fields of the segmenter's spec to replace, `{"options.device": "cpu"}`.
        order: how labels are brought; None leaves it to the page.

    Raises:
        ConfigError: no labels, a recipe that is not there, or a name that cannot be a file's.
    """

    def __init__(
        self,
        data: Path,
        reviewer: str,
        recipe: str | None = None,
        changes: Mapping[str, Any] | None = None,
        order: Order | None = None,
    ) -> None:
        self.data, self.reviewer = data, layout.name(reviewer)
        self.opened = DataSet.open(data, recipe)
        self.recipe = self.opened.recipe
        with Catalog(self.opened) as catalog:
            mine = catalog.sql(_MINE, recipe=self.recipe, reviewer=reviewer).to_pylist()
            self.total = catalog.sql(_LABELS, recipe=self.recipe)["n"][0].as_py()
        self._changes, self._order = changes or {}, order
        self._drawn: dict[str, Drawn] = {}
        self._begun = len(mine)
        self._verdicts = {row["sample_id"]: row["verdict"] for row in mine}
        self._parts: dict[str, str] = {}
        self._decoded: OrderedDict[tuple[str, str], ShownLabel] = OrderedDict()
        self._lock = threading.RLock()

    def queue(self, **filters: Any) -> dict[str, Any]:
        """The next labels that this person has not reviewed, the agreement with others, and what can be filtered.

        Args:
            **filters: parameters of the named query `review_queue`.
        """
        chosen = {"recipe": self.recipe, "reviewer": self.reviewer, "limit": QUEUE} | filters | self._ordered()
        with Catalog(self.reopened()) as catalog:
            newest = newest_discriminator(self.data)
            rows = catalog.query("review_queue", discriminator=newest, **chosen).to_pylist()
            self._drawn |= dict.fromkeys((row["sample_id"] for row in rows), self._how(chosen))
            agreed = [asdict(each) for each in agreements(catalog, self.recipe)]
            choices = {
                column: catalog.sql(
                    f"SELECT DISTINCT {column} AS v FROM labels WHERE recipe = $recipe ORDER BY v LIMIT 100",
                    recipe=self.recipe,
                )["v"].to_pylist()
                for column in ("status", "source", "kind")
            }
        return {"items": rows, "choices": choices, "agreement": agreed, **self.progress()}

    def _ordered(self) -> dict[str, Any]:
        """What the order that was asked for fixes of the queue."""
        if self._order is None:
            return {}
        left = self._order.limit - (len(self._verdicts) - self._begun) if self._order.limit else QUEUE
        return {"random": self._order.random, "above": self._order.above, "limit": max(0, min(left, QUEUE))}

    def _how(self, chosen: Mapping[str, Any]) -> Drawn:
        above = float(chosen.get("above", 0.0))
        kept = {name: str(chosen.get(name, "")) for name in ("status", "source", "kind")}
        quality = current(self.opened).quality_hash if above > 0 else ""
        return Drawn("random" if chosen.get("random") else "informative", **kept, above=above, quality=quality)

    def progress(self) -> dict[str, Any]:
        """How many labels there are and how many this person has reviewed."""
        return {"reviewer": self.reviewer, "total": self.total, "reviewed": len(self._verdicts)}

    def shown(self, part: str, sample_id: str) -> ShownLabel:
        """A label to look at.

        Raises:
            ConfigError: there is no such label.
        """
        key = layout.name(part), layout.name(sample_id)
        with self._lock:
            if key not in self._decoded:
                label = self.opened.label(*key) or self.reopened().label(*key)
                if label is None:
                    raise ConfigError(f"part {part!r} has no label {sample_id!r}; load the page again")
                self._decoded[key] = ShownLabel(label, decode(label.sample.image))
            self._decoded.move_to_end(key)
            while len(self._decoded) > 1 and (len(self._decoded) > _KEPT or self._pixels() > BATCH_PIXELS):
                self._decoded.popitem(last=False)
            return self._decoded[key]

    def _pixels(self) -> int:
        return sum(shown.image_HWC.shape[0] * shown.image_HWC.shape[1] for shown in self._decoded.values())

    def verdict(self, sample_id: str) -> str | None:
        """This person's current verdict on a label."""
        return self._verdicts.get(sample_id)

    def clicked(self, shown: ShownLabel, clicks: Sequence[Click], *, empty: bool) -> Rle:
        """The label's mask, or an empty one, changed by clicks.

        Raises:
            ConfigError: a click outside the image.
        """
        height, width = shown.image_HWC.shape[:2]
        for click in clicks:
            if max(click.x, click.x1) > width or max(click.y, click.y1) > height:
                raise ConfigError(f"a click at ({click.x:.0f}, {click.y:.0f}) lies outside {width}x{height} pixels")
        start_HW = np.zeros((height, width), bool) if empty else rle.decode(shown.label.mask)
        with self._lock:
            return rle.encode(apply_clicks(self.segmenter, shown.image_HWC, start_HW, clicks))

    def decide(self, shown: ShownLabel, verdict: Verdict, *, note: str = "", mask: Rle | None = None) -> Review:
        """Append a review."""
        sample_id = shown.label.sample.id
        with self._lock:
            drawn = self._drawn.get(sample_id)
            review = reviews.append(
                self.data, self.recipe, sample_id, self.reviewer, verdict, note=note, mask=mask, drawn=drawn
            )
            self._verdicts.pop(sample_id, None)
            self._verdicts[sample_id] = verdict
        return review

    def undo(self) -> dict[str, str] | None:
        """Withdraw the latest current review, by one more row; None where there is none."""
        with self._lock:
            if not self._verdicts:
                return None
            sample_id, verdict = next(reversed(self._verdicts.items()))
            reviews.append(self.data, self.recipe, sample_id, self.reviewer, "withdrawn")
            del self._verdicts[sample_id]
        return {"sample_id": sample_id, "part": self._part(sample_id), "verdict": verdict}

    def reopened(self) -> DataSet:
        """The data set with the labels, reviews and weights that were written meanwhile."""
        with self._lock:
            self.opened = DataSet.open(self.data, self.recipe)
        return self.opened

    @cached_property
    def segmenter(self) -> Segmenter:
        """The recipe's segmenter; the embedded one where the data set does not hold its recipe."""
        spec, config = demo().segmenter, recipes.load(self.data, self.recipe)
        if config:
            spec = build(ExpertSpec, config["segmenter"], str(recipes.recipe_path(self.data, self.recipe)))
        segmenter: Segmenter = get(override(spec, self._changes))
        return segmenter

    def _part(self, sample_id: str) -> str:
        rows = self.opened.light_batches(["part"], among("sample_id", [sample_id]))
        return next((part for batch in rows for part in batch["part"].to_pylist()), "")


def newest_discriminator(data: Path) -> str:
    """The discriminator whose weights were written last; "" where there is none."""
    files = list((data / "weights").glob("*/*.parquet"))
    return max(files, key=lambda path: path.stat().st_mtime_ns).parent.name if files else ""
