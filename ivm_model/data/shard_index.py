"""Where every training row of a data set lies, and what is known of it without reading a pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ivm_model.data.assignment import Split, assign
from ivm_model.data.dataset import DataConfig, TrainingRow, split_test
from storage import layout, snapshots
from storage.decisions import excluded
from storage.errors import ConfigError, ShardError
from storage.files import CONTENT
from storage.reader import iter_labels, only_recipe
from storage.records import Scope
from storage.reviews import Adjudication, adjudications
from storage.snapshots import Snapshot

_REPEATED = ["recipe", "part", "source", "kind", "difficulty", "status"]
_COLUMNS = [
    *(*_REPEATED, "sample_id", "outcome", "has_human", "held_out", "instruction", "image_sha"),
    *("verification", "presence", "quality", "human_iou"),
]


@dataclass(frozen=True)
class Shard:
    """A heavy file as it was when the index was made: its rows' hash, and the first row of each row group."""

    path: Path
    content: str
    starts: tuple[int, ...]

    def check(self, file: pq.ParquetFile) -> None:
        """Raise ShardError if the file is another one by now."""
        if (found := _content(file)) != self.content:
            raise ShardError(
                f"'{self.path}' changed while it was trained on (hash {self.content}, now {found}); "
                "a training needs a data set that stays: begin again"
            )


@dataclass(frozen=True)
class ShardIndex:
    """K training rows, human or machine, in the order of the shards.

    Memory: about 300 bytes a row.

    Attributes:
        shards: the heavy files.
        facts: the light columns of the K rows, and beside them what the next three hold.
        shard_K, row_K: which file a row is in, and where; heavy files have a row for every label.
        human_K: a mask of a person trains, or the engine's that a person confirmed.
        test: rows that only score, whole.
        reviewed: sample id -> what people found, where the engine's mask or their correction of it became human.
    """

    shards: tuple[Shard, ...]
    facts: pa.Table
    shard_K: np.ndarray
    row_K: np.ndarray
    human_K: np.ndarray
    test: tuple[TrainingRow, ...]
    reviewed: Mapping[str, Adjudication]

    def __len__(self) -> int:
        return len(self.facts)

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits over the shards' contents, and the ids, origins and corrected masks of the training rows."""
        digest = hashlib.blake2b("".join(shard.content for shard in self.shards).encode(), digest_size=8)
        digest.update("".join(self.facts["sample_id"].to_pylist()).encode() + self.human_K.tobytes())
        for sample_id, ruling in sorted(self.reviewed.items()):
            digest.update(f"{sample_id} {ruling.verdict} ".encode() + (ruling.mask.counts if ruling.mask else b""))
        return digest.hexdigest()

    @property
    def human(self) -> np.ndarray:
        """Indices of the human rows."""
        return np.flatnonzero(self.human_K)

    @property
    def machine(self) -> np.ndarray:
        """Indices of the machine rows."""
        return np.flatnonzero(~self.human_K)

    @property
    def groups(self) -> np.ndarray:
        """A number for the row group of each row, ascending."""
        first_S = np.cumsum([0, *(len(shard.starts) for shard in self.shards)])
        group_K = np.empty(len(self), np.int64)
        for number, shard in enumerate(self.shards):
            mine = self.shard_K == number
            group_K[mine] = first_S[number] + np.searchsorted(shard.starts, self.row_K[mine], side="right") - 1
        return group_K

    def numbers(self, column: str) -> np.ndarray:
        """A column of numbers as float32, NaN where it is NULL."""
        return self.facts[column].to_numpy().astype(np.float32)

    def words(self, column: str) -> np.ndarray:
        """A column of strings."""
        return np.array(self.facts[column].to_pylist(), object)

    def where(self, kept_K: np.ndarray) -> ShardIndex:
        """The rows of a bool mask alone."""
        return _index(self.shards, self.facts.filter(pa.array(kept_K)), self.test, self.reviewed)


def index_shards(data: Path, config: DataConfig) -> ShardIndex:
    """Read the light files; `dataset.load_rows` says which label becomes which row, and both agree.

    Raises:
        ConfigError: no row to train on, or several recipes' labels and none is chosen.
        ShardError: a file is torn or incomplete, or lacks what the snapshot lists.
    """
    frozen = config.moment(data)
    recipe = only_recipe(data, config.recipe or None, frozen)
    candidates = pc.field("has_human") & pc.field("held_out")
    test = split_test(iter_labels(data, candidates, recipe, frozen), config)
    sides = _Sides(config, pa.array([row.sample_id for row in test], pa.string()), data, recipe, frozen)
    shards, tables = [], []
    for number, light in enumerate(snapshots.trusted(data, "light", frozen, recipe)):
        shards.append(_shard(layout.heavy_path(light)))
        tables.append(_training_rows(light, number, sides))
    facts = pa.concat_tables(tables).unify_dictionaries() if tables else None
    if facts is None or not len(facts):
        raise ConfigError(f"nothing to train on in '{data}'; 'statuses' admits {', '.join(config.statuses)}")
    return _index(tuple(shards), facts, test, sides.heeded)


def _index(
    shards: tuple[Shard, ...], facts: pa.Table, test: tuple[TrainingRow, ...], reviewed: Mapping[str, Adjudication]
) -> ShardIndex:
    # One chunk: a row of many chunks is found by counting through them.
    facts = facts.combine_chunks()
    shard_K, row_K, human_K = facts["shard"].to_numpy(), facts["row"].to_numpy(), np.array(facts["human"])
    return ShardIndex(shards, facts, shard_K, row_K, human_K, test, reviewed)


class _Sides:
    """What the labels of a recipe are to a training; `heeded` collects the reviews that made a row human."""

    def __init__(
        self, config: DataConfig, scored: pa.Array, data: Path, recipe: str | None, frozen: Snapshot | None
    ) -> None:
        self.statuses, self.scored = pa.array(list(config.statuses)), scored
        self.parts = None if frozen is None else pa.array(frozen.parts(recipe or ""), pa.string())
        self.kept_out: dict[str, Scope] = excluded(data, recipe, frozen)
        self.rulings = adjudications(data, recipe, frozen)
        self.special = pa.array(sorted(self.kept_out.keys() | self.rulings.keys()), pa.string())
        self.heeded: dict[str, Adjudication] = {}

    def of(self, labels: pa.Table) -> np.ndarray:
        """The side of each label."""
        human = pc.and_(labels["has_human"], pc.invert(labels["held_out"]))
        usable = pc.is_in(labels["status"].cast(pa.string()), self.statuses)
        side_N = np.where(human, "human", np.where(usable, "machine", "")).astype(object)
        if self.parts is not None:
            side_N[~np.array(pc.is_in(labels["part"].cast(pa.string()), self.parts), bool)] = ""
        side_N[np.array(pc.is_in(labels["sample_id"], self.scored), bool)] = "test"
        ids = labels["sample_id"]
        for i in np.flatnonzero(pc.is_in(ids, self.special)):
            side_N[i] = self._admit(ids[int(i)].as_py(), side_N[i])
        return side_N

    def _admit(self, sample_id: str, side: Split) -> Split:
        ruling = self.rulings.get(sample_id)
        admitted = assign(side, self.kept_out.get(sample_id), ruling)
        if ruling and admitted == "human" != side:
            self.heeded[sample_id] = ruling
        return admitted


def _training_rows(light: Path, number: int, sides: _Sides) -> pa.Table:
    table = pq.read_table(light, columns=_COLUMNS, read_dictionary=_REPEATED)
    labels = table.filter(pc.field("outcome") == "label").drop_columns("outcome")
    side_N = sides.of(labels)
    labels = labels.append_column("shard", pa.array(np.full(len(labels), number), pa.int64()))
    labels = labels.append_column("row", pa.array(np.arange(len(labels)), pa.int64()))
    labels = labels.append_column("human", pa.array(side_N == "human", pa.bool_()))
    return labels.filter(pa.array(np.isin(side_N, ["human", "machine"])))


def _shard(heavy: Path) -> Shard:
    with pq.ParquetFile(heavy) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        return Shard(heavy, _content(file), tuple(np.cumsum([0, *sizes])[:-1].tolist()))


def _content(file: pq.ParquetFile) -> str:
    return (file.metadata.metadata or {}).get(CONTENT, b"").decode()
