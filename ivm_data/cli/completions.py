"""What the shell offers for a name that is half typed; `ivm --install-completion` turns it on."""

from __future__ import annotations

from collections.abc import Iterable


def recipes(incomplete: str) -> list[str]:
    """Labeling recipes."""
    from ivm_data.recipes.labeling_recipes import RECIPES

    return _starting(RECIPES, incomplete)


def queries(incomplete: str) -> list[tuple[str, str]]:
    """Named queries, each with what it answers."""
    from storage.sql.queries import named_queries

    return [(query.name, query.description) for query in named_queries() if query.name.startswith(incomplete)]


def rules(incomplete: str) -> list[str]:
    """Cleaning rules."""
    from ivm_data.quality.rules import rules as all_rules

    return _starting((rule.name for rule in all_rules()), incomplete)


def sources(incomplete: str) -> list[str]:
    """Data sets that `ivm import` reads."""
    from ivm_data.sources.foreign.readers import names

    return _starting(names(), incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats that `ivm export` writes."""
    from ivm_data.exports.formats import names

    return _starting(names(), incomplete)


def _starting(names: Iterable[str], start: str) -> list[str]:
    return sorted(name for name in names if name.startswith(start))
