"""A logistic regression over scores, computed three ways: for one label, for many at once, and in SQL.

The three agree to 1e-12; `tests/storage/gates/test_same_numbers.py` holds them to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.records import Proposal, Scores

PROBABILITIES = frozenset(
    {"support", "presence", "candidate", "p_yes_kept", "p_yes_complement", "grounding", "in_context"}
)
"""Features that count as their logit."""

EDGE, LEAST_AREA, LIMIT = 1e-4, 1e-6, 30.0
"""Probabilities are cut at EDGE and 1 - EDGE, `area_ratio` at LEAST_AREA, the logit of the result at +-LIMIT."""


@dataclass(frozen=True)
class Logistic:
    """P(right) = sigmoid(bias + sum(weight_i * (x_i - mean_i) / scale_i)); a missing feature counts as its mean.

    Raises:
        ValueError: numbers that are not finite, a scale that is not positive, or not one number of each for a feature.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        for name in ("mean", "scale", "weight"):
            if len(numbers := getattr(self, name)) != len(self.features):
                raise ValueError(f"'{name}' has {len(numbers)} numbers for {len(self.features)} features")
            if not all(map(math.isfinite, numbers)):
                raise ValueError(f"'{name}' must be finite numbers, got {list(numbers)}")
        if not math.isfinite(self.bias) or not all(scale > 0 for scale in self.scale):
            raise ValueError(f"'bias' must be finite and 'scale' positive, got {self.bias} and {list(self.scale)}")

    @classmethod
    def of(cls, values: Mapping[str, Any], known: Sequence[str]) -> Logistic:
        """From plain values, as they lie in JSON.

        Args:
            known: features that it may have, each once.

        Raises:
            ValueError, KeyError, TypeError, OverflowError: other features, or what is no regression.
        """
        features = tuple(values["features"])
        if wrong := [name for name in features if name not in known or features.count(name) > 1]:
            raise ValueError(f"it has {wrong} among its features; each of {', '.join(known)} may be there once")
        mean, scale, weight = (tuple(map(float, values[name])) for name in ("mean", "scale", "weight"))
        return cls(features, mean, scale, weight, float(values["bias"]))

    def probability(self, scores: Scores | Proposal) -> float:
        """P(right) for one label's or one proposal's scores, in (0, 1)."""
        x = np.array([feature(scores, name) for name in self.features])
        mean = np.array(self.mean)
        z = np.where(np.isnan(x), 0.0, (x - mean) / np.array(self.scale))
        return 1 / (1 + math.exp(-float(np.clip(self.bias + z @ np.array(self.weight), -LIMIT, LIMIT))))

    def probabilities(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """P(right) of N labels, float64 (N,); NaN where infinite features say two things at once.

        Args:
            columns: each feature's values, float64 (N,), NaN where missing.
        """
        z_N: Any = self.bias
        with np.errstate(all="ignore"):
            for name, mean, scale, weight in self._terms():
                x_N = _features(columns[name], name)
                z_N = z_N + np.where(np.isnan(x_N), 0.0, (x_N - mean) / scale) * weight
            p_N: np.ndarray = 1 / (1 + np.exp(-np.clip(z_N, -LIMIT, LIMIT)))
        return p_N

    def sql(self) -> str:
        """The same as an SQL expression over the columns of its features; NULL where that is NaN."""
        terms = (
            f"coalesce(({_feature_sql(name)} - {number(mean)}) / {number(scale)}, {number(0)}) * {number(weight)}"
            for name, mean, scale, weight in self._terms()
        )
        z = " + ".join([number(self.bias), *terms])
        edge = number(LIMIT)
        return (
            f"list_transform([{z}], lambda z: CASE WHEN isnan(z) THEN NULL "
            f"ELSE 1 / (1 + exp(-least(greatest(z, -{edge}), {edge}))) END)[1]"
        )

    def _terms(self) -> zip[tuple[str, float, float, float]]:
        return zip(self.features, self.mean, self.scale, self.weight, strict=True)


def feature(scores: Scores | Proposal, name: str) -> float:
    """A score as the regressions see it: the logit of a probability, the logarithm of `area_ratio`; NaN if missing."""
    value = getattr(scores, name)
    if name in PROBABILITIES and not math.isnan(value):
        p = min(max(value, EDGE), 1 - EDGE)
        return math.log(p / (1 - p))
    return math.log(max(value, LEAST_AREA)) if name == "area_ratio" else value


def number(value: float) -> str:
    """A float64 in SQL, to its last bit; a bare 0.1 would be a decimal."""
    return f"'{float(value)!r}'::DOUBLE"


def _features(value_N: np.ndarray, name: str) -> np.ndarray:
    if name in PROBABILITIES:
        p_N = np.clip(value_N, EDGE, 1 - EDGE)
        value_N = np.log(p_N / (1 - p_N))
    elif name == "area_ratio":
        value_N = np.log(np.maximum(value_N, LEAST_AREA))
    return value_N


def _feature_sql(name: str) -> str:
    value = f"CASE WHEN NOT isnan({name}) THEN {name} END"
    if name in PROBABILITIES:
        p = f"least(greatest({value}, {number(EDGE)}), {number(1 - EDGE)})"
        # least and greatest leave NULLs out, so a missing score must be kept missing.
        return f"CASE WHEN NOT isnan({name}) THEN ln({p} / (1 - {p})) END"
    if name == "area_ratio":
        return f"CASE WHEN NOT isnan({name}) THEN ln(greatest({value}, {number(LEAST_AREA)})) END"
    return value
