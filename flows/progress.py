"""How far a labeling run is: counts that turn into a log line, a percentage and a table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ivm_data.engine.labeling_run import LabelingRun
from ivm_data.engine.outcomes import manifest_counts
from ivm_data.engine.part_outcomes import PartSummary
from storage.records import Status


@dataclass
class LabelingProgress:
    """Counts of a manifest and of the run that labels it, fed part by part.

    Attributes:
        parts, pairs: of the whole manifest.
        parts_before, pairs_before: committed by earlier runs; they count as done, not for the speed.
        statuses: labels by status and rejections by reason, of the manifest, whichever run they are of.
        reasons: why the pairs of the manifest ended that could be read, by reason code.
        elsewhere: pairs that are committed in an object store only, so that what they ended as is not counted here.
        accepted_now: labels that this run added and the gate accepted.
        failed: parts that ended with an error.
        tokens: that LMM endpoints counted in this run.
        price: of a million tokens; 0 where it is not known.
        episodes: of the parts, each camera of an episode, by the part's name; empty where nothing is tracked.
        episodes_now: those in parts that are committed.
    """

    parts: int
    pairs: int
    parts_before: int
    pairs_before: int
    clock: Callable[[], float] = time.monotonic
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    accepted_now: int = 0
    parts_now: int = 0
    pairs_now: int = 0
    failed: int = 0
    tokens: int = 0
    price: float = 0.0
    episodes: Mapping[str, int] = field(default_factory=dict)
    episodes_now: int = 0

    def __post_init__(self) -> None:
        self._began = self.clock()

    @classmethod
    def of(cls, run: LabelingRun, price: float = 0.0) -> LabelingProgress:
        """The state at the start of a run: what earlier runs committed is done already."""
        waiting, counts = run.open_parts(), manifest_counts(run)
        left = sum(part.records for part in waiting)
        episodes = {part.name: part.recordings for part in run.parts if part.recordings}
        open_ones = sum(part.recordings for part in waiting)
        return cls(
            len(run.parts), run.pairs, len(run.parts) - len(waiting), run.pairs - left,
            statuses=counts.statuses, reasons=counts.reasons, elsewhere=counts.elsewhere, price=price,
            episodes=episodes, episodes_now=sum(episodes.values()) - open_ones,
        )  # fmt: skip

    def add(self, summary: PartSummary) -> None:
        """Count a finished part."""
        self.parts_now += 1
        self.pairs_now += summary.rows
        self.episodes_now += self.episodes.get(summary.part.partition("@")[0], 0) if summary.fresh else 0
        self.statuses += summary.statuses
        self.accepted_now += summary.statuses[Status.ACCEPTED] if summary.fresh else 0
        self.tokens += summary.tokens

    def settle(self, run: LabelingRun) -> None:
        """Count at the end what the data set holds of the manifest: another run may have labeled some of it too.

        Where all of it was done at the start, that is known.
        """
        if self.parts_before == self.parts:
            return
        counts = manifest_counts(run)
        self.statuses, self.reasons, self.elsewhere = counts.statuses, counts.reasons, counts.elsewhere

    def add_failure(self) -> None:
        """Count a part that ended with an error."""
        self.failed += 1

    @property
    def percent(self) -> float:
        """Share of the pairs that are committed, in [0, 100]."""
        return 100 * (self.pairs_before + self.pairs_now) / self.pairs

    @property
    def pairs_per_second(self) -> float:
        """Speed of this run; 0 before its first part is done."""
        return self.pairs_now / max(self.clock() - self._began, 1e-9)

    def counts(self) -> dict[str, str]:
        """What an operator wants to know, name -> words."""
        counts = {status.value: self.statuses[status] for status in Status}
        rejected_inputs = sum(self.statuses.values()) - sum(counts.values())
        return {
            "parts": f"{self.parts_before + self.parts_now}/{self.parts}",
            **({"episodes": f"{self.episodes_now}/{sum(self.episodes.values())}"} if self.episodes else {}),
            ("frames" if self.episodes else "pairs"): f"{self.pairs_before + self.pairs_now}/{self.pairs}",
            **{name.replace("_", " "): str(count) for name, count in counts.items()},
            "failed inputs": str(rejected_inputs),
            **({"in the object store only": str(self.elsewhere)} if self.elsewhere else {}),
            "failed parts": str(self.failed),
            **({"LMM tokens": f"{self.tokens:,}"} if self.tokens else {}),
            **({"LMM cost": self._cost()} if self.tokens and self.price else {}),
            "pairs/s": f"{self.pairs_per_second:.2f}",
            "time left": self._time_left(),
        }

    def line(self) -> str:
        """One line for a log."""
        return " · ".join(f"{name} {value}" for name, value in self.counts().items())

    def _cost(self) -> str:
        spent = self.tokens * self.price / 1e6
        expected = spent * (self.pairs - self.pairs_before) / self.pairs_now
        return f"{spent:.2f} of about {expected:.2f}"

    def _time_left(self) -> str:
        left = self.pairs - self.pairs_before - self.pairs_now
        if not self.pairs_now:
            return "unknown" if left else "0:00:00"
        minutes, seconds = divmod(round(left / self.pairs_per_second), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
