"""Names and what they stand for: built in, or offered by another installed package as an entry point.

A package offers by its `pyproject.toml`:

    [project.entry-points."ivm.experts"]
    my-grounder = "my_package.grounder:MyGrounder"

Entry points are looked for where a name is not built in, and loaded where one is asked for: a package that cannot be
loaded harms nobody who does not ask for what it offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from typing import Any

from storage.common.near import meant
from storage.errors import ConfigError


@dataclass(frozen=True)
class Registry:
    """One kind of thing by name.

    Attributes:
        what: the kind, for messages: "expert".
        group: of entry points: "ivm.experts".
        built_in: name -> "module:attribute"; a name in here is never another package's.
    """

    what: str
    group: str
    built_in: Mapping[str, str]

    def names(self) -> list[str]:
        """Every name: built-in ones in their order, then those of other packages."""
        return [*self.built_in, *sorted(self._offered().keys() - self.built_in.keys())]

    def check(self, name: str) -> None:
        """Refuse a name that nothing has; nothing is loaded.

        Raises:
            ConfigError: with all names.
        """
        if name not in self.built_in and name not in self._offered():
            known = self.names()
            raise ConfigError(f"unknown {self.what} {name!r}; choose one of {', '.join(known)}{meant(name, known)}")

    def get(self, name: str) -> Any:
        """What a name stands for.

        Raises:
            ConfigError: nothing has this name, two packages offer it, or its package cannot be loaded.
        """
        self.check(name)
        if name in self.built_in:
            module, attribute = self.built_in[name].split(":")
            return getattr(import_module(module), attribute)
        offers = self._offered()[name]
        if len(offers) > 1:
            packages = " and ".join(sorted(offers))
            raise ConfigError(f"{self.what} {name!r} is offered by {packages}; uninstall all but one of them")
        package, entry = next(iter(offers.items()))
        try:
            return entry.load()
        except (Exception, SystemExit) as error:  # whatever the code of another package raises
            raise self.broken(name, package, f"{type(error).__name__}: {error}") from error

    def broken(self, name: str, package: str, why: str) -> ConfigError:
        """The error of a name whose package does not keep what it offers."""
        return ConfigError(
            f"{self.what} {name!r} of package {package!r} cannot be used: {why}; update that package, or uninstall it"
        )

    def package(self, name: str) -> str:
        """Which package offers a name; "" for a built-in one."""
        return "" if name in self.built_in else next(iter(self._offered().get(name, {})), "")

    def _offered(self) -> dict[str, dict[str, EntryPoint]]:
        """Name -> package -> entry point."""
        offered: dict[str, dict[str, EntryPoint]] = {}
        for package, entry in _entry_points(self.group):
            offered.setdefault(entry.name, {}).setdefault(package, entry)
        return offered


def _entry_points(group: str) -> Iterator[tuple[str, EntryPoint]]:
    for distribution in distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == group]
            package = str(distribution.metadata["Name"]) if entries else ""
        except Exception:  # the metadata of a package that is half uninstalled
            continue
        for entry in entries:
            yield package, entry
