"""Where every row of a training lies, and what is known of it without reading a pixel."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ivm_model.data.assignment import Split, assign, position
from ivm_model.data.subsets import evenly
from ivm_model.data.training_rows import RowsConfig
from storage.data_set import DataSet
from storage.errors import ConfigError, IvmWarning, ShardError
from storage.gates.in_arrow import EVIDENCE
from storage.parts import layout
from storage.parts.files import CONTENT, LIGHT_ROWS
from storage.parts.rows import HEAVY_ROWS
from storage.reading import counting
from storage.reading.bulk import blocks, light_table
from storage.tables.reviews import Adjudication

_REPEATED = ["recipe", "part", "source", "kind", "difficulty", "status"]
_COLUMNS = [
    *(*_REPEATED, "sample_id", "outcome", "has_human", "held_out", "instruction", "image_sha"),
    *("verification", "presence", "quality", "human_iou", "area"),
]


@dataclass(frozen=True)
class Shard:
    """A heavy file as it was when the data set was opened, with the hash of its rows."""

    path: Path
    content: str

    def check(self, file: pq.ParquetFile) -> None:
        """Raise ShardError if the file is another one by now."""
        metadata: dict[bytes, bytes] = file.metadata.metadata or {}
        if (found := metadata.get(CONTENT, b"").decode()) != self.content:
            raise ShardError(
                f"'{self.path}' changed while it was trained on (hash {self.content}, now {found}); "
                "a training needs a data set that stays: begin again"
            )


@dataclass(frozen=True)
class TrainingIndex:
    """K rows in the order of their parts, and in a part of their labels, which no compaction changes.

    Memory: about 300 bytes a row.

    Attributes:
        shards: the heavy files.
        facts: the light columns of the K rows; `shard` and `row` tell which file a row is in, and where: heavy files
            have a row for every label.
        split_K: what each row is for, a `Split` that is not "".
        contents: part -> hash of its rows, as it was committed.
        reviewed: sample id -> what people found, where the engine's mask or their correction of it became human.
        thinned: option -> (rows before, rows after), where an option left rows out.
    """

    shards: tuple[Shard, ...]
    facts: pa.Table
    split_K: np.ndarray
    contents: Mapping[str, str]
    reviewed: Mapping[str, Adjudication]
    thinned: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.facts)

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits over the parts' contents, and the ids, origins and corrected masks of the training rows."""
        used = sorted(set(self.words("part")))
        digest = hashlib.blake2b("".join(self.contents[part] for part in used).encode(), digest_size=8)
        digest.update("".join(self.facts["sample_id"].to_pylist()).encode() + (self.split_K == "human").tobytes())
        for sample_id, found in sorted(self.reviewed.items()):
            digest.update(f"{sample_id} {found.verdict} ".encode() + (found.mask.counts if found.mask else b""))
        return digest.hexdigest()

    @property
    def human(self) -> np.ndarray:
        """Indices of the human rows."""
        return np.flatnonzero(self.split_K == "human")

    @property
    def machine(self) -> np.ndarray:
        """Indices of the machine rows."""
        return np.flatnonzero(self.split_K == "machine")

    @cached_property
    def shard_K(self) -> np.ndarray:
        """Which of the shards each row is in."""
        shard_K: np.ndarray = self.facts["shard"].to_numpy()
        return shard_K

    @cached_property
    def row_K(self) -> np.ndarray:
        """Where in its shard each row is."""
        row_K: np.ndarray = self.facts["row"].to_numpy()
        return row_K

    @property
    def groups(self) -> np.ndarray:
        """A number, ascending, for rows that lie together: 64 neighbours of one part, group_K."""
        _, first_K, part_K = np.unique(self.words("part"), return_index=True, return_inverse=True)
        within_K = np.arange(len(self)) - first_K[part_K]
        return np.unique(np.stack([part_K, within_K // HEAVY_ROWS]), axis=1, return_inverse=True)[1].reshape(-1)

    @cached_property
    def image_K(self) -> np.ndarray:
        """A number for the image of each row, in the order in which images first appear."""
        return np.asarray(self.facts["image_sha"].combine_chunks().dictionary_encode().indices, np.int64)

    def numbers(self, column: str) -> np.ndarray:
        """A column of numbers as float32, NaN where it is NULL."""
        value_K: np.ndarray = self.facts[column].to_numpy()
        return value_K.astype(np.float32)

    def words(self, column: str) -> np.ndarray:
        """A column of strings."""
        return np.array(self.facts[column].to_pylist(), object)

    def of(self, *splits: Split) -> TrainingIndex:
        """The rows of some splits alone."""
        return self.where(np.isin(self.split_K, splits))

    def where(self, kept_K: np.ndarray) -> TrainingIndex:
        """The rows of a bool mask alone."""
        # One chunk: a row of many chunks is found by counting through them.
        facts = self.facts.filter(pa.array(kept_K)).combine_chunks()
        return replace(self, facts=facts, split_K=self.split_K[kept_K])


def index_rows(folder: Path, config: RowsConfig) -> TrainingIndex:
    """Open a data set and read its light files; see `index_of`, for the errors too."""
    with DataSet.open(folder, config.recipe or None, config.snapshot or None) as data:
        return index_of(data, config)


def index_of(data: DataSet, config: RowsConfig) -> TrainingIndex:
    """Read the light files of one recipe.

    A label with a human mask trains as human, unless the mask is held out; then the engine's label trains, or the row
    only scores: for a source of `test_sources`, and for a share of the images. What cleaning excludes does not train;
    it still scores. What people confirmed or corrected trains as human; what they found wrong does not train. Reviews
    change nothing on the test split.

    Args:
        data: with the snapshot of `config`; its own recipe counts where `config` names none.

    Raises:
        ConfigError: no row to train on, or several recipes' labels and none is chosen.
        ShardError: a file is torn or incomplete.
    """
    data = data.at(config.recipe or data.recipe, data.snapshot)
    splits = _Splits(config, data)
    lights = data.files("light")
    shards = tuple(Shard(heavy, data.scanned.contents[heavy]) for heavy in map(layout.heavy_path, lights))
    contents = {part.name: part.content for light in lights for part in data.parts(light)}
    tables = [
        _rows_of(lights[block], block.start, splits, data) for block in blocks(list(map(data.rows, lights)), LIGHT_ROWS)
    ]
    index = _joined(shards, tables, contents, splits.applied)
    if index is None or not np.isin(index.split_K, ("human", "machine")).any():
        seen = ", ".join(f"{count} {status}" for status, count in sorted(splits.seen.items())) or "no labels at all"
        raise ConfigError(
            f"nothing to train on in '{data.folder}': found {seen}; 'statuses' allows {', '.join(config.statuses)}"
        )
    return _thinned(index, config.max_rows) if config.max_rows else index


def hold_back(index: TrainingIndex, share: float, limit: int) -> TrainingIndex:
    """Take a share of the images with human masks out of training, to validate on.

    All rows of these images leave training; their human rows become the "validation" split. Where more than `limit`
    would, only those of the first images by `assignment.position` do. Test rows are not touched: what was chosen by
    their scores could not be scored on them.

    Raises:
        ConfigError: no human row is held back, or none is left.
    """
    human_H, sha_K = index.human, index.words("image_sha")
    position_H = position(sha_K[human_H], "validation")
    order_H = np.argsort(position_H, kind="stable")[: int((position_H < share).sum())]
    held = human_H[order_H[:limit]]
    split_K = index.split_K.copy()
    split_K[np.isin(sha_K, sha_K[held]) & (split_K != "test")] = ""
    split_K[held] = "validation"
    left = int((split_K == "human").sum())
    if not len(held) or not left:
        raise ConfigError(
            f"of {len(human_H)} human rows a share of {share} leaves {left} to train on and {len(held)} "
            "to validate on; change 'run.validation_share', add human masks, or set 'run.evaluate_every' to 0"
        )
    thinned = dict(index.thinned)
    if len(order_H) > limit:
        thinned["run.validation_rows"] = (len(order_H), limit)
    return replace(index, split_K=split_K, thinned=thinned).where(split_K != "")


def _thinned(index: TrainingIndex, most: int) -> TrainingIndex:
    """At most `most` training rows, human ones first."""
    before, id_K = len(index.human) + len(index.machine), index.words("sample_id")
    human = evenly(index.human, id_K, most)
    machine = evenly(index.machine, id_K, most - len(human))
    after = len(human) + len(machine)
    if after == before:
        return index
    warnings.warn(
        f"'rows.max_rows' leaves {before - after:,} of {before:,} training rows out", IvmWarning, stacklevel=2
    )
    kept_K = index.split_K == "test"
    kept_K[human] = kept_K[machine] = True
    return replace(index.where(kept_K), thinned={"rows.max_rows": (before, after)})


def _joined(
    shards: tuple[Shard, ...],
    tables: list[pa.Table],
    contents: Mapping[str, str],
    reviewed: Mapping[str, Adjudication],
) -> TrainingIndex | None:
    if not tables:
        return None
    facts = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    part_K = np.array(facts["part"].to_pylist(), object)
    facts = facts.take(pa.array(np.lexsort((facts["row"].to_numpy(), part_K)))).combine_chunks()
    split_K = np.array(facts["split"].to_pylist(), object)
    return TrainingIndex(shards, facts.drop_columns("split"), split_K, contents, reviewed)


class _Splits:
    """The split of each label of a recipe.

    Attributes:
        applied: the reviews that made a row human.
        seen: labels by status.
    """

    def __init__(self, config: RowsConfig, data: DataSet) -> None:
        self.config, self.statuses = config, pa.array(list(config.statuses))
        self.parts = pa.array(sorted({part for _, part in data.light_of}), pa.string())
        self.excluded, self.adjudications = data.excluded(), data.adjudications()
        self.special = pa.array(sorted(self.excluded.keys() | self.adjudications.keys()), pa.string())
        self.applied: dict[str, Adjudication] = {}
        self.seen: dict[str, int] = {}

    def of(self, labels: pa.Table) -> np.ndarray:
        """The split of each label, split_N."""
        for status in labels["status"].to_pylist():
            self.seen[status] = self.seen.get(status, 0) + 1
        human_N, held_N = np.array(labels["has_human"], bool), np.array(labels["held_out"], bool)
        usable_N = np.array(pc.is_in(labels["status"].cast(pa.string()), self.statuses), bool)
        split_N = np.where(human_N & ~held_N, "human", np.where(usable_N, "machine", "")).astype(object)
        split_N[human_N & held_N & self._only_scores(labels)] = "test"
        ids = labels["sample_id"]
        for i in np.flatnonzero(pc.is_in(ids, self.special)):
            split_N[i] = self._assign(ids[int(i)].as_py(), split_N[i])
        split_N[~np.array(pc.is_in(labels["part"].cast(pa.string()), self.parts), bool)] = ""
        return split_N

    def _only_scores(self, labels: pa.Table) -> np.ndarray:
        source_N = np.array(labels["source"].to_pylist(), object)
        sha_N = np.array(labels["image_sha"].to_pylist(), object)
        return np.isin(source_N, self.config.test_sources) | (position(sha_N, "test") < self.config.test_share)

    def _assign(self, sample_id: str, split: Split) -> Split:
        adjudication = self.adjudications.get(sample_id)
        assigned = assign(split, self.excluded.get(sample_id), adjudication)
        if adjudication and assigned == "human" != split:
            self.applied[sample_id] = adjudication
        return assigned


def _rows_of(lights: Sequence[Path], first: int, splits: _Splits, data: DataSet) -> pa.Table:
    """The rows of some files, of which the first has that number."""
    columns = list(dict.fromkeys((*_COLUMNS, "position", *(EVIDENCE if data.gates else ()))))
    table = light_table(lights, columns, not data.scanned.older.isdisjoint(lights), "outcome = 'label'")
    file_N = table["file"].to_numpy()
    labels = data.decided(table).select([*_COLUMNS, "position"]).drop_columns("outcome")
    counting_N = counting.counts(labels, data.superseded)
    split_N = splits.of(labels)
    for name in _REPEATED:
        labels = labels.set_column(labels.column_names.index(name), name, labels[name].dictionary_encode())
    labels = labels.append_column("shard", pa.array(first + file_N, pa.int64()))
    row_N = np.arange(len(labels)) - np.searchsorted(file_N, file_N)
    labels = labels.append_column("row", pa.array(row_N, pa.int64()))
    labels = labels.append_column("split", pa.array(split_N, pa.string())).drop_columns("position")
    return labels.filter(pa.array((split_N != "") & counting_N))
