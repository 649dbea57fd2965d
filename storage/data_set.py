"""An opened data set: one scan of its files, with a recipe and a snapshot bound, for everything that reads.

    with DataSet.open(Path("data")) as data:
        for label in data.labels(pc.field("status") == "accepted"): ...

The files that it found stay while it is open, whatever is labeled or compacted meanwhile. What comes later is seen by
the next opening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import chain
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from storage.disk.locks import in_use
from storage.errors import ConfigError, ShardError
from storage.gates import in_arrow
from storage.gates.book import WRITTEN, Book
from storage.gates.gate import Gate, Judged
from storage.gates.opinions import Opinions
from storage.parts import layout
from storage.parts.layout import DataFiles, Problem
from storage.parts.part_files import CommittedPart
from storage.reading import counting, reader, whole_labels
from storage.records import Decision, Label, Review, Rle, Scope
from storage.tables import decisions, reviews, snapshots
from storage.tables.reviews import Adjudication
from storage.tables.snapshots import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

_OF_A_RECIPE = ("light", "heavy", "timings", "measures", "reliability", "inputs")
"""Kinds whose files lie in a folder for each recipe."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """What a folder held when it was opened; `open` makes one.

    Attributes:
        scanned: every usable file.
        snapshot: then only what it lists counts.
        chosen: hash of a recipe; then only its labels, timings and measures count. "" for those of every recipe.
        book: the log of its gates.
        gate: name or hash of the gate that was asked for; "" for the snapshot's, or the current one of each recipe.
        tried: a gate that is not kept anywhere yet and decides about its recipe's labels.
    """

    folder: Path
    scanned: DataFiles
    snapshot: Snapshot | None = None
    chosen: str = ""
    book: Book = field(default_factory=lambda: Book(Path(), ()), repr=False)
    gate: str = ""
    tried: Gate | None = None
    _held: ExitStack = field(default_factory=ExitStack, repr=False)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        recipe: str | None = None,
        snapshot: str | Snapshot | None = None,
        gate: str | None = None,
    ) -> DataSet:
        """Read the footer of every file, once.

        Args:
            recipe: hash of the one that is meant; without it those of all recipes count.
            snapshot: one, or its name, or the first digits of that.
            gate: name or hash of the gate that decides; "written" for what labeling wrote. Without it the one that the
                snapshot binds, or the current one.

        Raises:
            ConfigError: no such folder, recipe, snapshot or gate.
            ShardError: a folder that cannot be listed, or something that the snapshot lists, or the gate that counts,
                is not there any more.
        """
        folder = Path(folder)
        try:
            if not folder.is_dir():
                raise ConfigError(f"no data folder at '{folder}'; make one with 'ivm label --out {folder}'")
            with ExitStack() as held:
                for name in layout.COMPACTED:
                    held.enter_context(in_use(folder / name))
                scanned = cls(folder, layout.scan(folder), book=Book.read(folder), gate=gate or "")
                opened = scanned.at(recipe, snapshot)
                return replace(opened, _held=held.pop_all())
        except OSError as error:
            raise ShardError(f"data folder '{folder}' cannot be read ({error}); check your right to read it") from error

    def at(self, recipe: str | None = None, snapshot: str | Snapshot | None = None) -> DataSet:
        """The same scan with another recipe or snapshot; closing one closes both. See `open` for the errors."""
        if isinstance(snapshot, str):
            snapshot = snapshots.load(self.folder, snapshot) if snapshot else None
        bound = replace(self, snapshot=snapshot, chosen="")
        recipes = bound.recipes
        if recipe and recipe not in recipes:
            known = ", ".join(recipes) or "none yet"
            raise ConfigError(f"no labels of recipe {recipe!r} in '{self.folder}'; the recipes are: {known}")
        chosen = replace(bound, chosen=recipe or "")
        assert chosen.gates is not None  # Whatever is wrong with one shows up here.
        return chosen

    def close(self) -> None:
        """Let a compaction remove the files that it has superseded."""
        self._held.close()

    def __enter__(self) -> DataSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def gates(self) -> dict[str, Gate]:
        """Recipe -> the gate that decides about its labels; without one they are as labeling decided.

        Raises:
            ConfigError: no gate of the name that was asked for.
            ShardError: a gate that counts is gone, torn or was changed.
        """
        return {of: self._bound(gate) for of, gate in self._gates().items()}

    def _gates(self) -> dict[str, Gate]:
        if self.tried is not None:
            return {self.tried.recipe: self.tried}
        if self.gate == WRITTEN:
            return {}
        if self.gate:
            return self.book.named(self.gate, self.chosen)
        counting = self.book.current if self.snapshot is None else self.snapshot.gates
        return {of: self.book.load(of, gate) for of, gate in counting.items() if self.chosen in ("", of)}

    def _bound(self, gate: Gate) -> Gate:
        """The gate with what its judge said of the labels here, where it stands on one."""
        if not isinstance(gate.quality, Judged):
            return gate
        opinions = Opinions(self.opinions(gate.quality.judge), gate.recipe)
        return replace(gate, quality=replace(gate.quality, opinions=opinions))

    def opinions(self, judge: str) -> list[Path]:
        """The files with what a judge, or a discriminator, said of labels."""
        return [path for path in self.by_kind["weights"] if path.parent.name == judge]

    def decided_by(self, gate: Gate) -> DataSet:
        """The same scan, decided by a gate that is not kept anywhere yet; closing one closes both."""
        return replace(self, tried=gate)

    def decided(self, rows: pa.Table) -> pa.Table:
        """Rows of light files with quality, status and reason as the gates decide; see `storage.gates.in_arrow`."""
        return in_arrow.decided(rows, self.gates)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Files that are left out because they are torn, foreign or incomplete."""
        return self.scanned.problems

    @cached_property
    def by_kind(self) -> dict[str, list[Path]]:
        """The usable files that count by kind, of `storage.parts.layout.KINDS`; an answer may lack the problems."""
        listed = self.scanned.by_kind if self.snapshot is None else snapshots.listed(self.scanned, self.snapshot)
        return {
            kind: [path for path in paths if kind not in _OF_A_RECIPE or self.chosen in ("", path.parent.name)]
            for kind, paths in listed.items()
        }

    def files(self, kind: str) -> list[Path]:
        """As `by_kind`, where an answer without one of the files would mislead.

        Raises:
            ShardError: a file of that kind cannot be used.
        """
        self._check_whole("labels" if kind in ("light", "heavy") else kind)
        return self.by_kind[kind]

    @cached_property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that have outcomes, sorted."""
        lights = self.by_kind["light"]
        return tuple(sorted({path.parent.name for path in lights if any(part.rows for part in self.parts(path))}))

    @property
    def recipe(self) -> str:
        """The chosen recipe, or the only one.

        Raises:
            ConfigError: nothing is labeled, or several recipes have labels and none is chosen.
        """
        if not self.recipes:
            raise ConfigError(f"'{self.folder}' holds no outcomes; label something first with 'ivm label'")
        if len(self.recipes) > 1:
            raise ConfigError(
                f"'{self.folder}' holds labels of {len(self.recipes)} recipes; choose one of {', '.join(self.recipes)}"
            )
        return self.recipes[0]

    def parts(self, path: Path) -> tuple[CommittedPart, ...]:
        """The parts in a file of labels, timings or measures; with a snapshot, of labels those that it lists."""
        parts = self.scanned.parts[path]
        if self.snapshot is None or not path.name.endswith(layout.LIGHT):
            return parts
        listed = self.snapshot.parts(path.parent.name)
        return tuple(part for part in parts if part.name in listed)

    @cached_property
    def light_of(self) -> dict[tuple[str, str], Path]:
        """(recipe, part) -> the light file that holds the part, for all committed parts, sorted."""
        found = {(path.parent.name, part.name): path for path in self.by_kind["light"] for part in self.parts(path)}
        return dict(sorted(found.items()))

    @cached_property
    def superseded(self) -> pa.Table:
        """The rows that do not count, because another outcome of their pair does: recipe, part, position.

        Raises:
            ShardError: a file turned out to be damaged.
        """
        return counting.superseded(self)

    def labels(self, where: pc.Expression | None = None) -> Iterator[Label]:
        """Stream whole labels with images and masks, in order of part and position.

        Args:
            where: keeps matching rows of `storage.parts.schema.LIGHT`; row groups without a match are not read.
        """
        yield from self._labels(self.files("light"), lambda _: where)

    def labels_of(self, keys: pa.Table) -> Iterator[Label]:
        """Stream some whole labels, in the same order; files that hold none of them are not opened.

        Args:
            keys: `part` and `sample_id` of each.

        Raises:
            ConfigError: see `recipe`.
        """
        ids: dict[Path, list[str]] = {}
        recipe = self.recipe
        light_of = {part: light for (owner, part), light in self.light_of.items() if owner == recipe}
        for part, sample_id in zip(keys["part"].to_pylist(), keys["sample_id"].to_pylist(), strict=True):
            ids.setdefault(light_of[part], []).append(sample_id)
        lights = [light for light in self.files("light") if light in ids]
        # For each file its own: a condition is made anew, with all its values, for every batch of rows.
        yield from self._labels(lights, lambda some: reader.among("sample_id", chain(*(ids[light] for light in some))))

    def _labels(
        self, lights: Sequence[Path], where: Callable[[Sequence[Path]], pc.Expression | None]
    ) -> Iterator[Label]:
        sizes = {light: self.rows(light) for light in lights}
        return whole_labels.stream(sizes, where, self._counting, self.gates, self.scanned.older)

    def rows(self, light: Path) -> int:
        """Rows of a light file."""
        return sum(part.rows for part in self.scanned.parts[light])

    def light_batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the outcomes that count as Arrow batches; see `storage.reading.reader.light_batches`."""
        return reader.light_batches(self.files("light"), columns, where, self._counting, self.gates)

    def masks(self, sample_ids: Iterable[str]) -> dict[str, Rle]:
        """The masks of the labels by sample id, without reading an image; ids without a label are left out.

        Raises:
            ConfigError: see `recipe`.
        """
        where = reader.among("recipe", [self.recipe]) & reader.among("sample_id", sample_ids)
        return reader.masks(self.files("heavy"), reader.both(where, self._counting))

    def label(self, part: str, sample_id: str) -> Label | None:
        """One label of a known part, without a look into any other file; None where there is none.

        Raises:
            ConfigError: see `recipe`.
        """
        light = self.light_of.get((self.recipe, part))
        if light is None:
            return None
        where = reader.among("part", [part]) & reader.among("sample_id", [sample_id])
        return next(whole_labels.labels(light, where, self._current, self.gates), None)

    def decisions(self) -> list[Decision]:
        """The cleaning decisions in effect: for each rule and label the latest one."""
        return decisions.current(decisions.read(self.files("decisions")))

    def excluded(self) -> dict[str, Scope]:
        """Sample id -> scope, of the labels that some cleaning rule excludes."""
        return decisions.scopes(self.decisions(), self.chosen)

    def reviews(self) -> list[Review]:
        """Every review ever written, oldest first; `storage.tables.reviews.current` says which count."""
        return reviews.read(self.files("reviews"))

    def adjudications(self) -> dict[str, Adjudication]:
        """Sample id -> what its reviews mean for training."""
        return reviews.adjudicate_all(self.reviews(), self.chosen)

    def now(self) -> Snapshot:
        """A snapshot of what was scanned; nothing is written.

        Raises:
            ShardError: a file of labels, weights, reviews or decisions cannot be used.
        """
        self._check_whole("labels", *snapshots.FACTS)
        return snapshots.of(self.scanned, self.book.current)

    def freeze(self) -> Snapshot:
        """Keep that snapshot in the folder; the same data again gives the same snapshot and writes nothing."""
        return snapshots.write(self.folder, self.now())

    @cached_property
    def _current(self) -> pc.Expression | None:
        """Keeps the rows that no other outcome of their pair has taken the place of."""
        return reader.without(self.superseded) if len(self.superseded) else None

    @cached_property
    def _counting(self) -> pc.Expression | None:
        """Keeps the rows that count."""
        return reader.both(self._listed, self._current)

    @cached_property
    def _listed(self) -> pc.Expression | None:
        """Keeps the rows that the snapshot lists, as a file may hold others too."""
        lights = self.by_kind["light"]
        if self.snapshot is None or all(self.parts(path) == self.scanned.parts[path] for path in lights):
            return None
        owners = {path.parent.name for path in lights}
        listed = [reader.among("recipe", [one]) & reader.among("part", self.snapshot.parts(one)) for one in owners]
        return reduce(or_, listed)

    def _check_whole(self, *folders: str) -> None:
        if error := layout.as_error([problem for problem in self.problems if problem.path.parts[0] in folders]):
            raise error
