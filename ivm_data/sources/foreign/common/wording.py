"""How the name of a kind of thing becomes an instruction."""

from __future__ import annotations

from typing import Annotated

from storage.common.validation import Rule
from storage.errors import ConfigError


def _takes_name(template: str) -> bool:
    """Whether `{name}` is what a template takes, and all."""
    try:
        return "\x00" in template.format(name="\x00")
    except (LookupError, ValueError, AttributeError):
        return False


TEMPLATE = Rule("hold {name} and no other braces", _takes_name)
Template = Annotated[str, TEMPLATE]
"""Words around the name of a thing: "Find every {name}."."""


def check_template(template: str) -> None:
    """Refuse what is no `Template`, where that depends on other fields.

    Raises:
        ConfigError: it is none.
    """
    if not TEMPLATE.holds(template):
        raise ConfigError(f"'instruction' must {TEMPLATE.allowed}, got {template!r}")
