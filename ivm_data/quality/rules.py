"""Cleaning rules: each a file `sql/rules/<name>.sql` that finds labels; applying one is in `cleaning`.

A rule's file has the header of a named query (`storage.sql.queries`), its scope, and the reason that is shown with each
label. It gives (recipe, sample_id, value), where `value` is what the reason shows.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from storage.common import sql_files
from storage.common.near import meant
from storage.common.plugins import Registry
from storage.errors import ConfigError, IvmWarning
from storage.records import Scope
from storage.sql import queries
from storage.sql.queries import Query

_LINE = re.compile(r"^-- (scope|reason): (.+)$", re.MULTILINE)

_NAMES = (
    *("area_outlier", "full_frame", "fragmented", "box_mask_disagreement", "unstable", "verifier_contradiction"),
    *("near_duplicate_images", "duplicate_instructions", "split_leakage"),
)
"""In the order in which to look at them."""


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


def _rule(name: str, text: str) -> Rule:
    lines = dict(_LINE.findall(text))
    return Rule(queries.parse(name, text), cast("Scope", lines["scope"]), lines["reason"])


_TEXTS = sql_files.load("ivm_data.quality", "sql/rules")
RULES = tuple(_rule(name, _TEXTS[name]) for name in _NAMES)
"""Built-in rules, in that order."""
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
        known = [*by_name, *others]
        raise ConfigError(f"no rule {name!r}; the rules are: {', '.join(known)}{meant(name, known)}")
    found = _OTHERS.get(name)
    if not isinstance(found, Rule) or found.name != name:
        raise _OTHERS.broken(name, _OTHERS.package(name), f"it is no Rule of that name but {found!r:.80}")
    return found
