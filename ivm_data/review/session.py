"""One person's review of the labels of one recipe: the queue, a label decoded, the verdicts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivm_data.config import build, override
from ivm_data.experts.common.protocols import Segmenter
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.quality.judge_readiness import readiness
from ivm_data.quality.regate import current
from ivm_data.quality.reviewer_agreement import agreements
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.review.next_labels import next_labels
from ivm_data.review.pace import Pace
from ivm_data.review.promise_needs import promise_needs
from ivm_data.review.repair import Repair
from ivm_data.review.shown_labels import ShownLabel, ShownLabels
from ivm_data.review.strip import Strip, strip
from storage.catalog import Catalog
from storage.common.validation import Checked, Natural, Share
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.parts import layout
from storage.reading.reader import among
from storage.records import Drawn, Label, Review, Rle, Verdict
from storage.tables import recipes, reviews

if TYPE_CHECKING:
    from ivm_data.engine.retracking import Retracked

QUEUE = 200
"""Labels that are ranked at once; they are ranked again when these are done."""

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


class ReviewSession:
    """Answers and writes for one reviewer; safe for several threads.

    Attributes:
        repair: makes masks of a person's edits.

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
        self._labels = ShownLabels(self._find)
        self._lock = threading.RLock()
        self._pace = Pace()
        self.repair = Repair(self._segmenter)

    def queue(self, where: str = "", **filters: Any) -> dict[str, Any]:
        """The next labels that this person has not reviewed, the agreement with others, and what can be filtered.

        Args:
            where: an SQL condition over the view `labels`; what it chooses is no random sample.
            **filters: parameters of the named query `review_queue`.

        Raises:
            ConfigError: the condition is not one expression, or names what is not there.
        """
        chosen = {"recipe": self.recipe, "reviewer": self.reviewer, "limit": QUEUE} | filters | self._ordered()
        with Catalog(self.reopened()) as catalog:
            newest = newest_discriminator(self.data)
            rows = next_labels(catalog, chosen | {"discriminator": newest}, where)
            self._drawn |= dict.fromkeys((row["sample_id"] for row in rows), self._how(chosen, where))
            self._parts |= {row["sample_id"]: row["part"] for row in rows}
            agreed = [asdict(each) for each in agreements(catalog, self.recipe)]
            choices = {
                column: catalog.sql(
                    f"SELECT DISTINCT {column} AS v FROM labels WHERE recipe = $recipe ORDER BY v LIMIT 100",
                    recipe=self.recipe,
                )["v"].to_pylist()
                for column in ("status", "source", "kind")
            }
        ordered = self._order is not None
        return {"items": rows, "choices": choices, "agreement": agreed, "ordered": ordered, **self.progress()}

    def _ordered(self) -> dict[str, Any]:
        """What the order that was asked for fixes of the queue."""
        if self._order is None:
            return {}
        left = self._order.limit - (len(self._verdicts) - self._begun) if self._order.limit else QUEUE
        return {"random": self._order.random, "above": self._order.above, "limit": max(0, min(left, QUEUE))}

    def _how(self, chosen: Mapping[str, Any], where: str) -> Drawn:
        above = float(chosen.get("above", 0.0))
        kept = {name: str(chosen.get(name, "")) for name in ("status", "source", "kind")}
        quality = current(self.opened).quality_hash if above > 0 else ""
        is_random = bool(chosen.get("random")) and not where.strip()
        return Drawn("random" if is_random else "informative", **kept, above=above, quality=quality)

    def progress(self) -> dict[str, Any]:
        """How many labels there are, how many this person has reviewed, how fast, and how many are left to do."""
        limit = self._order.limit if self._order else 0
        done = len(self._verdicts) - self._begun
        left = limit - done if limit else self.total - len(self._verdicts)
        reviewed = {"reviewer": self.reviewer, "total": self.total, "reviewed": len(self._verdicts)}
        return reviewed | {"left": max(0, left), "seconds": self._pace.seconds}

    def promise_needs(self, precision: float) -> dict[str, Any]:
        """See `promise_needs`."""
        return promise_needs(self.reopened(), precision)

    def judge_readiness(self) -> dict[str, Any]:
        """`Readiness` with its sentence: how many verdicts are missing until a judge is worth training."""
        ready = readiness(self.reopened())
        return asdict(ready) | {"text": ready.text}

    def shown(self, part: str, sample_id: str) -> ShownLabel:
        """A label to look at.

        Raises:
            ConfigError: there is no such label.
        """
        return self._labels.get(layout.name(part), layout.name(sample_id))

    def _find(self, part: str, sample_id: str) -> Label:
        label = self.opened.label(part, sample_id) or self.reopened().label(part, sample_id)
        if label is None:
            raise ConfigError(f"part {part!r} has no label {sample_id!r}; load the page again")
        return label

    def strip(self, shown: ShownLabel) -> Strip:
        """The labels of an episode beside one of them."""
        return strip(self.reopened(), shown.label)

    def retrack(self, sample_id: str) -> Retracked:
        """Carry a corrected mask to the labels of its episode beside it; see `ivm_data.engine.retracking.retrack`."""
        from ivm_data.engine.retracking import retrack

        with self._lock:
            done = retrack(self.data, self.recipe, only=[sample_id])
            self._labels.forget()
            self._parts.clear()
        return done

    def verdict(self, sample_id: str) -> str | None:
        """This person's current verdict on a label."""
        return self._verdicts.get(sample_id)

    def decide(self, shown: ShownLabel, verdict: Verdict, *, note: str = "", mask: Rle | None = None) -> Review:
        """Append a review."""
        with self._lock:
            self._pace.add()
            return self._append(shown.label.sample.id, verdict, note, mask)

    def accept(self, labels: Sequence[tuple[str, str]]) -> None:
        """Append the review "right" of each label, in their order.

        Args:
            labels: part and sample id of each.

        Raises:
            ConfigError: one of them is not there; then nothing is written.
        """
        for part, sample_id in labels:
            if self._parts.get(sample_id) != part:
                self._find(layout.name(part), layout.name(sample_id))
        with self._lock:
            self._pace.add(len(labels))
            for _, sample_id in labels:
                self._append(sample_id, "right")

    def _append(self, sample_id: str, verdict: Verdict, note: str = "", mask: Rle | None = None) -> Review:
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

    def _segmenter(self) -> Segmenter:
        """The recipe's segmenter; the embedded one where the data set does not hold its recipe."""
        spec, config = demo().segmenter, recipes.load(self.data, self.recipe)
        if config:
            spec = build(ExpertSpec, config["segmenter"], str(recipes.recipe_path(self.data, self.recipe)))
        segmenter: Segmenter = get(override(spec, self._changes))
        return segmenter

    def _part(self, sample_id: str) -> str:
        if sample_id in self._parts:
            return self._parts[sample_id]
        rows = self.opened.light_batches(["part"], among("sample_id", [sample_id]))
        return next((part for batch in rows for part in batch["part"].to_pylist()), "")


def newest_discriminator(data: Path) -> str:
    """The discriminator whose weights were written last; "" where there is none."""
    files = list((data / "weights").glob("*/*.parquet"))
    return max(files, key=lambda path: path.stat().st_mtime_ns).parent.name if files else ""
