"""The progress of a labeling run in a terminal: its pairs, and what its LMM endpoint costs so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from ivm_data.engine.part_outcomes import PartSummary


class PairsBar:
    """A bar that is told of every committed part.

    Args:
        token_price: of a million tokens; 0 where it is not known.
    """

    def __init__(self, bar: Progress, name: str, pairs: int, token_price: float) -> None:
        self._bar, self._name, self._price, self._tokens = bar, name, token_price, 0
        self._task = bar.add_task(name, total=pairs)

    def add(self, part: PartSummary) -> None:
        """Count a part."""
        self._tokens += part.tokens
        self._bar.update(self._task, advance=part.rows, description=" · ".join(filter(None, (self._name, self.spent))))

    @property
    def spent(self) -> str:
        """Tokens of the endpoint and their price so far; "" where there is none."""
        if not self._tokens:
            return ""
        cost = f", {self._tokens * self._price / 1e6:.2f} in all" if self._price else ""
        return f"{self._tokens:,} tokens{cost}"
