"""How the name of a kind of thing becomes an instruction."""

from __future__ import annotations

from typing import Annotated

from storage.validation import Rule


def _takes_name(template: str) -> bool:
    """Whether `{name}` is what a template takes, and all."""
    try:
        return "\x00" in template.format(name="\x00")
    except (LookupError, ValueError, AttributeError):
        return False


Template = Annotated[str, Rule("hold {name} and no other braces", _takes_name)]
"""Words around the name of a thing: "Find every {name}."."""
