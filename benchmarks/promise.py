"""Are promises kept, and how much do they accept? Many draws of random reviews from labels whose truth is known.

    ivm world W --scenes 600 --pairs-per-scene 1 --start 5000
    ivm label --manifest W/manifest.jsonl --out DATA
    python -m benchmarks.promise --data DATA --out docs/images/promise.svg

A draw is a set of labels that somebody reviewed in random order, without mistakes. Two populations: the labels
themselves, of which 200 reviews know a good part, and twenty times as many of the same kind, of which they know
nearly nothing. Beside the coverage that is reached: that of a threshold chosen with all truth known, and what the best
test of one threshold reaches that knows where to begin, which no choice of thresholds can beat by much.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivm_data.quality.promise import MARGIN, Judged, Wish, most_wrong, promise, thresholds
from storage.catalog import Catalog
from storage.common.markdown import markdown_table

TRUTH = """
    SELECT quality, coalesce(human_iou >= 0.5, false) AS is_right, kind FROM labels
    WHERE has_human AND reason IN ('ok', 'target_absent', 'whole_image', 'uncertain') ORDER BY part, position"""
PRECISIONS, REVIEWS, MANY = (0.9, 0.95, 0.98), (100, 200, 400), 20


@dataclass(frozen=True)
class Population:
    """Labels whose truth is known: qualities and whether each is right."""

    quality_N: np.ndarray
    right_N: np.ndarray

    def precision(self, accept: float) -> float:
        return float(self.right_N[self.quality_N >= accept].mean())

    def best(self, precision: float) -> float:
        """Coverage of the lowest threshold that keeps the promise, all truth known."""
        order = np.argsort(-self.quality_N, kind="stable")
        precision_N = np.cumsum(self.right_N[order]) / np.arange(1, len(order) + 1)
        ends_N = np.append(np.diff(self.quality_N[order]) != 0, True)
        kept = np.flatnonzero((precision_N >= precision) & ends_N)
        return (int(kept[-1]) + 1) / len(order) if len(kept) else 0.0


@dataclass(frozen=True)
class Kept:
    """Of many draws: mean coverage, and the share of broken promises."""

    coverage: float
    broken: float


Found = tuple[float, int, str, str, Kept, float, float]
"""Promise, reviews, population, drawn from, what was kept, coverage of the best test, and with all truth known."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with Catalog(options.data) as catalog:
        rows = catalog.sql(TRUTH)
    few = Population(rows["quality"].to_numpy(), rows["is_right"].to_numpy(zero_copy_only=False))
    many = Population(np.repeat(few.quality_N, MANY), np.repeat(few.right_N, MANY))
    print(f"{len(few.quality_N)} labels, {few.right_N.mean():.3f} of them right\n")
    found = [
        (
            precision,
            reviews,
            name,
            where,
            kept(of, precision, reviews, above, options.draws),
            best_test(of, precision, reviews, above, options.draws),
            of.best(precision),
        )
        for precision in PRECISIONS
        for reviews in REVIEWS
        for name, of in (("these", few), ("many", many))
        for where, above in (("all", 0.0), ("above", asked_above(of, precision)))
    ]
    columns = ["promise", "reviews", "labels", "drawn from", "coverage", "best test", "truth known", "broken, %"]
    print(markdown_table(columns, list(map(_line, found))))
    rows = [(f"{precision:.2f}", *repeated(many, precision, options.draws // 4)) for precision in PRECISIONS]
    print(markdown_table(["promise", "held, %", "reviews", "coverage", "broken, %"], rows))
    print(markdown_table(["labels of one kind", "thresholds", "broken, %", "coverage"], shifted(few, options.draws)))
    if options.out:
        plot(found, options.out)


def _line(found: Found) -> list[str]:
    precision, reviews, name, where, of, test, best = found
    shares = [f"{share:.2f}" for share in (of.coverage, test, best)]
    return [f"{precision:.2f}", str(reviews), name, where, *shares, f"{100 * of.broken:.1f}"]


def asked_above(of: Population, precision: float) -> float:
    """The quality above which `ivm gate` asks for reviews; it knows no verdict."""
    falling_N = np.sort(of.quality_N)[::-1]
    wrong_N = np.cumsum(1 - falling_N) / np.arange(1, len(falling_N) + 1)
    inside = np.flatnonzero(wrong_N < (1 - precision) * MARGIN)
    return float(np.floor(falling_N[inside[-1]] * 1e4) / 1e4) if len(inside) else 0.0


def kept(of: Population, precision: float, reviews: int, above: float, draws: int) -> Kept:
    rng = np.random.default_rng([int(100 * precision), reviews])
    pool = np.flatnonzero(of.quality_N >= above)
    coverage_D, broken_D = np.zeros(draws), np.zeros(draws, bool)
    for draw in range(draws):
        chosen = rng.choice(pool, min(reviews, len(pool)), replace=False)
        judged = Judged(of.quality_N[chosen], ~of.right_N[chosen], np.full(len(chosen), above))
        found = promise(of.quality_N, judged, Wish(precision))
        coverage_D[draw] = found.coverage
        broken_D[draw] = found.accept is not None and of.precision(found.accept) < precision
    return Kept(float(coverage_D.mean()), float(broken_D.mean()))


def best_test(of: Population, precision: float, reviews: int, above: float, draws: int) -> float:
    """Greatest expected coverage of a test of one threshold, chosen with all truth known."""
    rng, wish = np.random.default_rng(reviews), Wish(precision)
    tried_T = thresholds(of.quality_N)
    tried_T = tried_T[tried_T >= above]
    pool = np.flatnonzero(of.quality_N >= above)
    among_TP = of.quality_N[pool] >= tried_T[:, None]
    wrong_TP = among_TP & ~of.right_N[pool]
    accepted_T = (of.quality_N >= tried_T[:, None]).sum(axis=1)
    breaking_T = np.floor(accepted_T * (1 - precision) + 1e-9).astype(int) + 1
    held_T = np.zeros(len(tried_T))
    for _ in range(min(draws, 500)):
        chosen = rng.choice(len(pool), min(reviews, len(pool)), replace=False)
        judged_T, seen_T = among_TP[:, chosen].sum(axis=1), wrong_TP[:, chosen].sum(axis=1)
        held_T += seen_T <= most_wrong(accepted_T, breaking_T, judged_T, wish.risk)
    kept_T = np.array([of.precision(at) >= precision for at in tried_T])
    return float((kept_T * held_T / min(draws, 500) * accepted_T / len(of.quality_N)).max(initial=0))


def repeated(of: Population, precision: float, draws: int, rounds: int = 5) -> tuple[str, ...]:
    """Somebody reviews 100 labels, asks, reviews what is said to be missing, asks again: five times at most."""
    rng, wish = np.random.default_rng(1), Wish(precision)
    held, spent, covered, broken = 0, 0, 0.0, 0
    for _ in range(draws):
        chosen, above_J = rng.choice(len(of.quality_N), 100, replace=False), np.zeros(100)
        for _ in range(rounds):
            found = promise(of.quality_N, Judged(of.quality_N[chosen], ~of.right_N[chosen], above_J), wish)
            if found.accept is not None or not found.more:
                break
            pool = np.setdiff1d(np.flatnonzero(of.quality_N >= found.above), chosen)
            added = rng.choice(pool, min(found.more, len(pool), 1000), replace=False)
            chosen, above_J = np.append(chosen, added), np.append(above_J, np.full(len(added), found.above))
        spent += len(chosen)
        if found.accept is not None:
            held, covered = held + 1, covered + found.coverage
            broken += of.precision(found.accept) < precision
    return (
        f"{100 * held / draws:.0f}", f"{spent / draws:.0f}", f"{covered / draws:.2f}", f"{100 * broken / draws:.1f}",
    )  # fmt: skip


def shifted(of: Population, draws: int, precision: float = 0.9, reviews: int = 400) -> list[list[str]]:
    """A second source of whose labels the quality says nothing. Thresholds come from reviews while one label in ten is
    of it, and are asked about when every second one is."""
    rng = np.random.default_rng(0)
    one = Population(np.repeat(of.quality_N, 9), np.repeat(of.right_N, 9))
    other = Population(rng.permutation(of.quality_N), of.right_N)
    mixed = Population(*(np.concatenate(pair) for pair in zip(_parts(one), _parts(other), strict=True)))
    rows = {"one for all": [], "one for each source": []}
    for _ in range(draws):
        chosen = rng.choice(len(mixed.quality_N), reviews, replace=False)
        pooled = _promised(mixed, chosen, Wish(precision))
        first, second = chosen[chosen < len(one.quality_N)], chosen[chosen >= len(one.quality_N)] - len(one.quality_N)
        each = Wish(precision, 1 - 0.05 / 2)
        rows["one for all"].append((pooled, pooled))
        rows["one for each source"].append((_promised(one, first, each), _promised(other, second, each)))
    return [
        [share, name, *_told(of, other, found, weight, precision)]
        for share, weight in (("10 %", 0.1), ("50 %", 0.5))
        for name, found in rows.items()
    ]


def _parts(of: Population) -> tuple[np.ndarray, np.ndarray]:
    return of.quality_N, of.right_N


def _promised(of: Population, chosen: np.ndarray, wish: Wish) -> float:
    """The threshold; 2 where there is none."""
    judged = Judged(of.quality_N[chosen], ~of.right_N[chosen], np.zeros(len(chosen)))
    accept = promise(of.quality_N, judged, wish).accept
    return 2.0 if accept is None else accept


def _told(
    one: Population, other: Population, found: list[tuple[float, float]], weight: float, precision: float
) -> list[str]:
    broken, coverage = [], []
    for first, second in found:
        kept_1, kept_2 = one.quality_N >= first, other.quality_N >= second
        taken = (1 - weight) * kept_1.mean() + weight * kept_2.mean()
        right = (1 - weight) * (kept_1 & one.right_N).mean() + weight * (kept_2 & other.right_N).mean()
        broken.append(taken > 0 and right / taken < precision)
        coverage.append(taken)
    return [f"{100 * np.mean(broken):.1f}", f"{np.mean(coverage):.2f}"]


def plot(found: list[Found], out: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "promise", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(PRECISIONS), figsize=(9, 3), sharey=True)
    for axis, precision in zip(axes, PRECISIONS, strict=True):
        for name, where, style in (("these", "above", "o-"), ("many", "above", "s-"), ("many", "all", "s:")):
            chosen = [each for each in found if (each[0], *each[2:4]) == (precision, name, where)]
            line = [(reviews, of.coverage, best) for _, reviews, _, _, of, _, best in chosen]
            axis.plot([n for n, *_ in line], [c for _, c, _ in line], style, label=f"{name}, drawn from {where}")
        axis.axhline(line[0][2], color="black", linewidth=0.8, label="all truth known")
        axis.set(title=f"{precision:.2f} are right", xlabel="random reviews", xscale="log", ylim=(0, 1))
        axis.set_xticks(REVIEWS, list(map(str, REVIEWS)))
        axis.minorticks_off()
    axes[0].set_ylabel("share of labels accepted")
    axes[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
