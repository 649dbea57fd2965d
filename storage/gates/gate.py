"""A gate: how evidence becomes a decision, as a fact with a hash.

Evidence is what experts said of a label; labeling writes it and nothing changes it. Quality, status and reason follow
from it by a gate: where the quality comes from, the thresholds and rules, and what was promised about them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from storage.common.validation import Checked, NotNegative, Share
from storage.errors import ConfigError
from storage.gates.logistic import Logistic
from storage.gates.opinions import Opinions

MASK_FEATURES = (
    "presence",
    "grounding",
    "margin",
    "candidate",
    "relation",
    "predicted_iou",
    "stability",
    "agreement",
    "area_ratio",
    "witnessed",
    "in_context",
    "p_yes_kept",
    "p_yes_complement",
    "consistency",
)
ABSENT_FEATURES = ("presence", "grounding", "agreement", "consistency")

By = Literal["", "source", "kind", "answer"]
"""What thresholds and promises may differ by; `answer` is "mask", "absent" or "whole image"."""


@dataclass(frozen=True)
class GateConfig(Checked):
    """Where the gate draws its lines.

    Attributes:
        accept: accept from this calibrated quality on.
        reject: reject below this calibrated quality; between the two a person should look.
        min_understood: least share of known words for a label to be accepted without review.
        min_agreement: least mean pairwise IoU of the proposals for the same; 0 leaves it to the quality, which knows
            the agreement and how much it says.
        min_consistency: least agreement of the masks that are carried to a frame from both sides, for the same; a still
            has none, and passes.
        min_area_ratio, max_area_ratio: a mask outside covers nearly nothing or nearly everything.
    """

    accept: Share = 0.8
    reject: Share = 0.4
    min_understood: NotNegative = 0.9
    min_agreement: NotNegative = 0.0
    min_area_ratio: Share = 0.0005
    max_area_ratio: Share = 0.9
    min_consistency: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reject > self.accept:
            raise ConfigError(f"gate needs reject <= accept, got reject={self.reject}, accept={self.accept}")
        if self.min_area_ratio >= self.max_area_ratio:
            raise ConfigError(
                f"gate needs min_area_ratio < max_area_ratio, got {self.min_area_ratio} and {self.max_area_ratio}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; without `min_consistency`, as before it, where it asks for nothing."""
        values = asdict(self)
        return values if self.min_consistency else {k: v for k, v in values.items() if k != "min_consistency"}


@dataclass(frozen=True)
class Calibrated:
    """Quality by two regressions.

    Attributes:
        mask: for labels with a mask.
        absent: for labels that say "no target".
    """

    mask: Logistic
    absent: Logistic


Plain = Literal["written", "uncalibrated"] | Calibrated
"""As labeling wrote it; `storage.gates.uncalibrated`; or two regressions."""


@dataclass(frozen=True)
class Judged:
    """Quality by a judge that people's verdicts taught, where it has an opinion of a label.

    Attributes:
        judge: name of the judge, whose opinions are `weights` of the data set.
        verdicts: how many taught it.
        anew: so many new ones make it worth training again.
        otherwise: quality of the labels that it has not seen, and of whole images, which it does not judge.
        opinions: what it said, bound by `storage.data_set.DataSet.gates`; no part of what the gate is.
    """

    judge: str
    verdicts: int
    anew: int
    otherwise: Plain = "written"
    opinions: Opinions | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        taught = {"judge": self.judge, "verdicts": self.verdicts, "anew": self.anew}
        return taught | {"otherwise": _plain(self.otherwise)}


Quality = Plain | Judged
"""Where the quality comes from."""


@dataclass(frozen=True)
class Gate:
    """How the labels of one recipe are decided.

    Attributes:
        recipe: hash of the recipe.
        quality: see `Quality`. That of a whole image, for which no regression is fitted, is the verifier's P(yes).
        by: thresholds differ by this column; "" where one holds for all.
        accepts: with `by`, its value -> the threshold that takes the place of `config.accept`; None accepts nothing,
            and so does a value that is not among them.
        promise: what was promised about the thresholds, plain values; None where nothing was.
    """

    recipe: str
    config: GateConfig = field(default_factory=GateConfig)
    quality: Quality = "written"
    by: By = ""
    accepts: Mapping[str, float | None] = field(default_factory=dict)
    promise: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise ConfigError(f"'by' must be one of {', '.join(filter(None, get_args(By)))}, got {self.by!r}")
        for value, accept in self.accepts.items():
            if accept is not None and not (math.isfinite(accept) and self.config.reject <= accept <= 1):
                raise ConfigError(
                    f"gate needs reject <= accept <= 1, got reject={self.config.reject}, accept={accept} for {value!r}"
                )

    @cached_property
    def hash(self) -> str:
        """12 hex digits over everything but this."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @cached_property
    def quality_hash(self) -> str:
        """12 hex digits over where the quality comes from: gates that share it rank labels alike."""
        text = json.dumps([self.recipe, self.to_dict()["quality"]], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they lie in the data set."""
        quality = self.quality.to_dict() if isinstance(self.quality, Judged) else _plain(self.quality)
        values = {"recipe": self.recipe, "config": self.config.to_dict(), "quality": quality, "by": self.by}
        kept = {"accepts": dict(self.accepts), "promise": None if self.promise is None else dict(self.promise)}
        plain: dict[str, Any] = json.loads(json.dumps(values | kept))
        return plain

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Gate:
        """What `to_dict` gave.

        Raises:
            ValueError, KeyError, TypeError, OverflowError: what is no gate.
        """
        written = raw["quality"]
        quality: Quality
        if isinstance(written, Mapping) and "judge" in written:
            taught = int(written["verdicts"]), int(written["anew"])
            quality = Judged(str(written["judge"]), *taught, _read_plain(written["otherwise"]))
        else:
            quality = _read_plain(written)
        config = GateConfig(**raw["config"])
        return cls(str(raw["recipe"]), config, quality, raw["by"], dict(raw["accepts"]), raw["promise"])


def _plain(quality: Plain) -> Any:
    return quality if isinstance(quality, str) else asdict(quality)


def _read_plain(written: Any) -> Plain:
    if written in ("written", "uncalibrated"):
        return "written" if written == "written" else "uncalibrated"
    if isinstance(written, str):
        raise ValueError(f"'quality' must be 'written', 'uncalibrated', two regressions or a judge, got {written!r}")
    return Calibrated(Logistic.of(written["mask"], MASK_FEATURES), Logistic.of(written["absent"], ABSENT_FEATURES))
