"""Cleaning rules: each a query that finds labels, with parameters and a reason; applying one is in `cleaning`.

A rule's SQL starts with the header of a named query (`storage.queries`) and gives (recipe, sample_id, value), where
`value` is what the rule's reason shows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ivm_data.quality.rules_of_samples import DUPLICATE_INSTRUCTIONS, NEAR_DUPLICATES, SPLIT_LEAKAGE
from storage import queries
from storage.errors import ConfigError, IvmWarning
from storage.plugins import Registry
from storage.queries import Query
from storage.records import Scope


@dataclass(frozen=True)
class Rule:
    """A cleaning rule.

    Attributes:
        scope: "mask" where only the engine's mask is wrong, so that a human mask of the same sample still trains.
        reason: shown with each label; may use {value} and the query's parameters.
    """

    query: Query
    scope: Scope
    reason: str

    @property
    def name(self) -> str:
        """What it is called on the command line and in decisions."""
        return self.query.name

    def explain(self, value: float, parameters: Mapping[str, Any]) -> str:
        """The reason for one label."""
        return self.reason.format(value=value, **parameters)


_AREA_OUTLIER = """-- Areas unusual for their source: robust z of the log area share, (x - median) / (1.4826 MAD).
-- $recipe = "": only recipes whose hash starts with this
-- $z = 3.5: least |z| that is found
WITH areas AS (
    SELECT recipe, sample_id, source, ln(area / (width::DOUBLE * height)) AS x
    FROM labels WHERE starts_with(recipe, $recipe) AND area > 0
),
spread AS (SELECT recipe, source, median(x) AS middle, 1.4826 * mad(x) AS sigma FROM areas GROUP BY ALL)
SELECT recipe, sample_id, (x - middle) / sigma AS value
FROM areas JOIN spread USING (recipe, source)
WHERE sigma > 0 AND abs(x - middle) >= $z * sigma"""

_FULL_FRAME = """-- Masks of (nearly) the whole image: they ask nothing of a model.
-- $recipe = "": only recipes whose hash starts with this
-- $share = 0.95: least share of the image that is found
SELECT recipe, sample_id, area / (width::DOUBLE * height) AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area / (width::DOUBLE * height) >= $share"""

_FRAGMENTED = """-- Masks in many pieces of which none is the main one.
-- $recipe = "": only recipes whose hash starts with this
-- $pieces = 8: least number of connected components
-- $largest = 0.8: the largest component has less than this share of the pixels
SELECT recipe, sample_id, components AS value
FROM measures
WHERE starts_with(recipe, $recipe) AND components >= $pieces AND largest < $largest"""

_BOX_MASK = """-- Masks that lie elsewhere than the boxes that they were made from: IoU of the two extents.
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: found below this
WITH boxes AS (
    SELECT recipe, sample_id, extent,
        [c.box FOR c IN candidates IF c.chosen AND c.role = 'target'] AS chosen
    FROM labels JOIN measures USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND extent IS NOT NULL
),
sides AS (
    SELECT recipe, sample_id, extent AS m, {
        'x0': list_min([b.x0 FOR b IN chosen]), 'y0': list_min([b.y0 FOR b IN chosen]),
        'x1': list_max([b.x1 FOR b IN chosen]), 'y1': list_max([b.y1 FOR b IN chosen])
    } AS b
    FROM boxes WHERE len(chosen) > 0
),
areas AS (
    SELECT recipe, sample_id, (m.x1 - m.x0) * (m.y1 - m.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) AS total,
        greatest(0, least(m.x1, b.x1) - greatest(m.x0, b.x0)) * greatest(0, least(m.y1, b.y1) - greatest(m.y0, b.y0))
            AS shared
    FROM sides
)
SELECT recipe, sample_id, shared / (total - shared) AS value FROM areas WHERE shared < $iou * (total - shared)"""

_UNSTABLE = """-- Masks that the segmenter itself was not sure of.
-- $recipe = "": only recipes whose hash starts with this
-- $stability = 0.8: found below this stability
-- $predicted_iou = 0.6: or below this predicted IoU
SELECT recipe, sample_id, least(stability, predicted_iou) AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area > 0 AND (stability < $stability OR predicted_iou < $predicted_iou)"""

_CONTRADICTION = """-- Masks that the verifier contradicts: no on what is kept, or yes on what is left.
-- $recipe = "": only recipes whose hash starts with this
-- $kept = 0.3: found where P(yes) on the kept pixels is below this
-- $complement = 0.7: or where P(yes) on the complement is above this
SELECT recipe, sample_id, verification AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area > 0 AND (p_yes_kept < $kept OR p_yes_complement > $complement)"""

_RULES: tuple[tuple[str, Scope, str, str], ...] = (
    ("area_outlier", "mask", "robust z of the log area is {value:.1f}, limit {z}", _AREA_OUTLIER),
    ("full_frame", "mask", "covers {value:.1%} of the image, limit {share:.0%}", _FULL_FRAME),
    ("fragmented", "mask", "{value:.0f} pieces, the largest with less than {largest:.0%}", _FRAGMENTED),
    (
        "box_mask_disagreement",
        "mask",
        "extent overlaps the chosen boxes' by IoU {value:.2f}, limit {iou}",
        _BOX_MASK,
    ),
    ("unstable", "mask", "least of stability and predicted IoU is {value:.2f}", _UNSTABLE),
    ("verifier_contradiction", "mask", "verification is {value:.2f}: kept no, or complement yes", _CONTRADICTION),
    (
        "near_duplicate_images",
        "sample",
        "{value:.0f} of 64 bits differ from an earlier image's hash",
        NEAR_DUPLICATES,
    ),
    (
        "duplicate_instructions",
        "sample",
        "wording {value:.0f} of one instruction on one image",
        DUPLICATE_INSTRUCTIONS,
    ),
    ("split_leakage", "sample", "{value:.0f} of 64 bits differ from an evaluation image's hash", SPLIT_LEAKAGE),
)

RULES = tuple(Rule(queries.parse(name, sql), scope, reason) for name, scope, reason, sql in _RULES)
"""Built-in rules, in the order in which to look at them."""
_OTHERS = Registry("rule", "ivm.rules", {})
"""Rules of other packages."""


def rules() -> list[Rule]:
    """Built-in rules, then those of other packages; one that is broken is left out with a warning."""
    found = list(RULES)
    for name in _OTHERS.names():
        try:
            found.append(rule(name))
        except ConfigError as error:
            warnings.warn(str(error), IvmWarning, stacklevel=2)
    return found


def rule(name: str) -> Rule:
    """The rule of that name.

    Raises:
        ConfigError: with all names, where there is none; or its package is broken.
    """
    by_name = {one.name: one for one in RULES}
    if name in by_name:
        return by_name[name]
    if name not in (others := _OTHERS.names()):
        raise ConfigError(f"no rule {name!r}; the rules are: {', '.join([*by_name, *others])}")
    found = _OTHERS.get(name)
    if not isinstance(found, Rule) or found.name != name:
        raise _OTHERS.broken(name, _OTHERS.package(name), f"it is no Rule of that name but {found!r:.80}")
    return found
