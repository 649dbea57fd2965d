"""The lowest threshold of which it can be promised that what it accepts is right.

A threshold t accepts N of the labels. Of these n are *judged*: drawn without replacement, with a known verdict
(`ivm_data.quality.judged` says which labels those are). If as many of the N were wrong as would break the promise, the
number of wrong ones among the n would be hypergeometric; its lower tail at the number that was seen is the p-value of
"the promise does not hold at t". That is exact for any n and N; for a large N it is the Clopper-Pearson bound. Labels
whose truth is known and that nobody drew are no part of the draw: they count as what they are.

Thresholds are tested in a fixed order, from a first one downwards, and the first that fails ends it (fixed-sequence
testing, as in Learn then Test, Angelopoulos et al., arXiv 2110.01052): so all tests together err with probability
1 - confidence. The order may depend on anything but the draw. It begins where the expected coverage is greatest if the
quality is what it says: the strictest threshold is where the fewest verdicts are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import hypergeom

THRESHOLDS = 60
"""Most thresholds that are tried."""

DRAWS = 400
"""Draws of verdicts by which the first threshold is chosen."""

PRIOR = 0.15
"""How far a quality above the promise is drawn towards it when the first threshold is chosen: a quality that says too
much would begin too low, where the first test fails and nothing is accepted."""

MARGIN = 0.8
"""Verdicts are asked for above the lowest threshold where no more than this share of the wrong ones that the promise
allows is expected."""

TRUSTED = 10
"""Verdicts that the quality's own word is worth, where it says how many labels are wrong."""

POWER = 0.8
"""Probability with which the promise then holds."""


@dataclass(frozen=True)
class Wish:
    """What is to be promised.

    Attributes:
        precision: least share of right labels among those that are accepted.
        confidence: probability with which the promise is kept, over the draws of who is judged.
    """

    precision: float
    confidence: float = 0.95

    @property
    def risk(self) -> float:
        """Greatest probability of a broken promise."""
        return 1 - self.confidence


@dataclass(frozen=True, eq=False)
class Judged:
    """Labels whose verdict is known, each once, drawn at random.

    Attributes:
        quality_J: their qualities.
        wrong_J: their verdicts, bool.
        above_J: from which quality on each was drawn, 0 for all; it counts at no lower threshold.
        seen_K, seen_wrong_K: qualities of the labels that could not be drawn, since they were judged otherwise, and
            their verdicts.
    """

    quality_J: np.ndarray
    wrong_J: np.ndarray
    above_J: np.ndarray
    seen_K: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seen_wrong_K: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def ranked(self) -> Judged:
        """The same with `seen_K` rising."""
        order = np.argsort(self.seen_K, kind="stable")
        return replace(self, seen_K=self.seen_K[order], seen_wrong_K=self.seen_wrong_K[order])

    def counts(self, tried_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(verdicts, wrong ones) that count at each threshold, int (T,) each."""
        counts_JT = (self.above_J[:, None] <= tried_T) & (self.quality_J[:, None] >= tried_T)
        return counts_JT.sum(axis=0), counts_JT[self.wrong_J].sum(axis=0)

    def drawable(self, quality_N: np.ndarray, tried_T: np.ndarray) -> np.ndarray:
        """How many labels each threshold accepts that could be drawn, int (T,)."""
        drawable_T: np.ndarray = _at_least(quality_N, tried_T) - _at_least(self.seen_K, tried_T)
        return drawable_T

    def expected(self, quality_N: np.ndarray, tried_T: np.ndarray) -> np.ndarray:
        """How many verdicts were to be expected at each threshold by the design of the draw, int (T,)."""
        expected_T = np.zeros(len(tried_T))
        drawable_T = self.drawable(quality_N, tried_T)
        for above, count in zip(*np.unique(self.above_J, return_counts=True), strict=True):
            among = max(1, int(self.drawable(quality_N, np.array([above]))[0]))
            expected_T += np.where(tried_T >= above, count * drawable_T / among, 0)
        whole_T: np.ndarray = np.minimum(np.round(expected_T).astype(int), drawable_T)
        return whole_T

    def breaking(self, quality_N: np.ndarray, tried_T: np.ndarray, precision: float) -> np.ndarray:
        """How many wrong ones among the drawable break the promise at each threshold, int (T,)."""
        allowed_T = np.floor(_at_least(quality_N, tried_T) * (1 - precision) + 1e-9).astype(int)
        breaking_T: np.ndarray = allowed_T + 1 - _at_least(self.seen_K[self.seen_wrong_K], tried_T)
        return breaking_T


@dataclass(frozen=True)
class Promise:
    """What can be promised of one group of labels.

    Attributes:
        accept: the threshold; None where none can be promised.
        labels: labels that any threshold might accept.
        accepted: of these, those that this one accepts.
        judged, wrong: the verdicts above the threshold; with None, those above the first one that was tried.
        bound: lower confidence bound on the share of right ones there.
        more: verdicts that are still missing, about; 0 where none are, None where no number would do.
        above: from this quality on they are to be drawn.
    """

    accept: float | None
    labels: int
    accepted: int
    judged: int
    wrong: int
    bound: float
    more: int | None
    above: float

    @property
    def coverage(self) -> float:
        """Share of the labels that is accepted."""
        return self.accepted / self.labels if self.labels else 0.0


def promise(quality_N: np.ndarray, judged: Judged, wish: Wish) -> Promise:
    """The lowest threshold whose promise holds.

    Args:
        quality_N: of every label that a threshold might accept.
    """
    quality_N, judged = np.sort(quality_N), judged.ranked()
    tried_T = thresholds(quality_N)
    judged_T, wrong_T = judged.counts(tried_T)
    most_T = _most(quality_N, tried_T, judged_T, judged, wish)
    plan = _plan(quality_N, tried_T, judged, wish)
    holds_T = np.append(wrong_T <= most_T, False)
    last = plan.first + int(np.argmin(holds_T[plan.first :])) - 1 if plan else -1
    if plan is None or last < plan.first:
        return _missing(quality_N, tried_T, judged, wish)
    at = float(tried_T[last])
    accepted, bound = int((quality_N >= at).sum()), _bound(quality_N, at, judged, wish)
    return Promise(at, len(quality_N), accepted, int(judged_T[last]), int(wrong_T[last]), bound, 0, at)


def thresholds(quality_N: np.ndarray) -> np.ndarray:
    """Thresholds to try, falling, with about as many labels between each two; 4 digits, so that no quality ties with
    one by its last bits. They depend on no verdict."""
    if not len(quality_N):
        return np.zeros(0)
    shares = np.linspace(1, 0, THRESHOLDS + 1)[1:]
    return np.unique(np.floor(np.quantile(quality_N, shares) * 1e4) / 1e4)[::-1]


def most_wrong(drawable_T: np.ndarray, breaking_T: np.ndarray, judged_T: np.ndarray, risk: float) -> np.ndarray:
    """The greatest number of wrong verdicts with which the promise still holds, int (T,); -1 where none suffices.

    Args:
        drawable_T: labels of which `judged_T` were drawn.
        breaking_T: so many wrong ones among them break the promise.
    """
    bad_T = np.clip(breaking_T, 0, drawable_T)
    expected = np.max(judged_T * bad_T / np.maximum(drawable_T, 1), initial=0)
    tail_TK = _tails(int(expected) + 2, drawable_T, bad_T, judged_T)
    most_T = np.minimum((tail_TK <= risk).sum(axis=1) - 1, judged_T)
    return np.where(breaking_T <= 0, -1, np.where(breaking_T > drawable_T, judged_T, most_T))


def most_bad(drawable: int, judged: int, wrong: int, confidence: float) -> int:
    """Upper bound on the wrong ones of `drawable` labels, of which `judged` were drawn and `wrong` were wrong."""
    low, high = wrong, drawable - judged + wrong
    while low < high:
        middle = (low + high + 1) // 2
        if _tail(wrong, drawable, middle, judged) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def _bound(quality_N: np.ndarray, at: float, judged: Judged, wish: Wish) -> float:
    """Lower bound on the share of right ones from this quality on."""
    tried_T = np.array([at])
    (drawable,), (n,), (k,) = judged.drawable(quality_N, tried_T), *judged.counts(tried_T)
    seen_wrong = int((judged.seen_K[judged.seen_wrong_K] >= at).sum())
    bad = most_bad(int(drawable), int(n), int(k), wish.confidence) + seen_wrong
    return 1 - bad / max(1, int((quality_N >= at).sum()))


def _most(quality_N: np.ndarray, tried_T: np.ndarray, judged_T: np.ndarray, judged: Judged, wish: Wish) -> np.ndarray:
    drawable_T = judged.drawable(quality_N, tried_T)
    return most_wrong(drawable_T, judged.breaking(quality_N, tried_T, wish.precision), judged_T, wish.risk)


def _tails(count: int, all_T: np.ndarray, bad_T: np.ndarray, drawn_T: np.ndarray) -> np.ndarray:
    """P(at most k bad ones are drawn) for k < `count`, (T, K)."""
    k_K = np.arange(count)
    pmf_TK = np.exp(hypergeom.logpmf(k_K, all_T[:, None], bad_T[:, None], drawn_T[:, None]))
    tail_TK: np.ndarray = np.minimum(np.cumsum(pmf_TK, axis=1), 1)
    return tail_TK


def _tail(wrong: int, labels: int, bad: int, drawn: int) -> float:
    return float(_tails(wrong + 1, *(np.array([one]) for one in (labels, bad, drawn)))[0, -1])


@dataclass(frozen=True)
class _Plan:
    """Where to begin.

    Attributes:
        first: index of the threshold with the greatest expected coverage.
        holds: probability that the promise holds there.
    """

    first: int
    holds: float


def _plan(quality_N: np.ndarray, tried_T: np.ndarray, judged: Judged, wish: Wish, worse: float = 1.0) -> _Plan | None:
    """Where to begin, were the quality what it says; None where there are too few verdicts for any threshold.

    Args:
        judged: of whom was drawn only the design counts.
        worse: how many times as many labels are wrong.
    """
    accepted_T, judged_T = _at_least(quality_N, tried_T), judged.expected(quality_N, tried_T)
    most_T = _most(quality_N, tried_T, judged_T, judged, wish)
    if not (most_T >= 0).any():
        return None
    falling_N = quality_N[::-1]
    wrong_N = np.minimum(worse * (1 - falling_N), 1)
    doubted_N = np.minimum(wrong_N + PRIOR * np.maximum(falling_N - wish.precision, 0), 1)
    rng, shells_T = np.random.default_rng(0), np.maximum(np.diff(accepted_T, prepend=0), 1)
    judged_S = np.maximum(np.diff(judged_T, prepend=0), 0)

    def holds(expected_N: np.ndarray) -> np.ndarray:
        share_T = np.diff(np.cumsum(expected_N)[accepted_T - 1], prepend=0) / shells_T
        drawn_DT = rng.binomial(judged_S, np.clip(share_T, 0, 1), (DRAWS, len(tried_T)))
        return np.cumsum(drawn_DT, axis=1) <= most_T

    holds_DT, reached_D, mean_T = holds(doubted_N), np.zeros(DRAWS), np.zeros(len(tried_T))
    for t in range(len(tried_T) - 1, -1, -1):
        reached_D = np.where(holds_DT[:, t], np.maximum(reached_D, accepted_T[t]), 0)
        mean_T[t] = reached_D.mean()
    first = int(np.argmax(mean_T)) if mean_T.any() else int(np.argmax(most_T >= 0))
    return _Plan(first, float(holds(wrong_N)[:, first].mean()))


def _missing(quality_N: np.ndarray, tried_T: np.ndarray, judged: Judged, wish: Wish) -> Promise:
    """No promise, and how many verdicts from above which quality would give one in four of five draws."""
    accepted_T = _at_least(quality_N, tried_T)
    seen, wrong = len(judged.quality_J), int(judged.wrong_J.sum())
    worse = float(np.clip((wrong + 5) / ((1 - judged.quality_J).sum() + 5), 0.5, 4))
    says_T = np.cumsum(1 - quality_N[::-1])[accepted_T - 1] / np.maximum(accepted_T, 1)
    judged_T, wrong_T = judged.counts(tried_T)
    wrong_share_T = (wrong_T + TRUSTED * worse * says_T) / (judged_T + TRUSTED)
    good = np.flatnonzero(wrong_share_T < (1 - wish.precision) * MARGIN)
    if not len(good):
        return Promise(None, len(quality_N), 0, seen, wrong, 0.0, None, 1.0)
    at = int(good[-1])
    above, among = float(tried_T[at]), int(judged.drawable(quality_N, tried_T)[at])
    n, k = int(judged_T[at]), int(wrong_T[at])
    more, count = None, max(n, 20)
    while more is None:
        count = min(among, int(count * 1.1) + 1)
        drawn = {"quality_J": np.full(count, 1.0), "wrong_J": np.zeros(count, bool), "above_J": np.full(count, above)}
        plan = _plan(quality_N, tried_T, replace(judged, **drawn), wish, worse)
        if count >= among or (plan and plan.holds >= POWER):
            more = max(1, count - n)
    return Promise(None, len(quality_N), 0, n, k, _bound(quality_N, above, judged, wish), more, above)


def _at_least(quality_N: np.ndarray, tried_T: np.ndarray) -> np.ndarray:
    """How many qualities, which rise, reach each threshold, int (T,)."""
    return len(quality_N) - np.searchsorted(quality_N, tried_T, side="left")
