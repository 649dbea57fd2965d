"""GRIT, grounded image-text pairs (Peng et al. 2023, Kosmos-2): Parquet files of captions, URLs and boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked
from ivm_data.sources.foreign.containers.tables import parquet_files
from storage.errors import ConfigError

ROWS_IN_MEMORY = 1024
_COLUMNS = ["url", "caption", "noun_chunks", "ref_exps"]


@dataclass(frozen=True)
class GritConfig:
    """Which files, and what its boxes count as.

    Attributes:
        table: a Parquet file, or a folder of them.
        boxes: give the boxes as labels. They are of a detector (GLIP, score above 0.65), not of a person, so that
            somebody has to want this.
        min_score: boxes of a lower score are left out.
        noun_chunks: also take the short noun phrases, and not only the referring expressions.
    """

    table: str
    boxes: bool = False
    min_score: float = 0.0
    noun_chunks: bool = True


def read_grit(config: GritConfig) -> Iterator[Record]:
    """GRIT: a grounded phrase of a caption is an instruction, its boxes the label if wanted; images stay URLs.

    Reads: *.parquet
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in parquet_files(config.table, "table"):
        position = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS_IN_MEMORY, columns=_COLUMNS):
                    for row in batch.to_pylist():
                        yield from checked(f"{path.name}: row {position}", _pairs, row, config)
                        position += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"'{path}' is no Parquet with {', '.join(_COLUMNS)}: {str(error)[:300]}") from error


def _pairs(row: dict[str, Any], config: GritConfig) -> Iterator[ForeignPair]:
    """One pair a span of the caption; a span that is a noun chunk and an expression is an expression."""
    found: dict[str, tuple[str, list[Target]]] = {}
    for kind in ("ref_exps", "noun_chunks") if config.noun_chunks else ("ref_exps",):
        for start, stop, *corners, score in row[kind] or ():
            phrase = row["caption"][int(start) : int(stop)].strip()
            if score >= config.min_score and found.setdefault(phrase, (kind, []))[0] == kind:
                found[phrase][1].append({"box": corners, "frame": "image"})
    for phrase, (kind, boxes) in found.items():
        yield ForeignPair(
            image=row["url"],
            instruction=phrase,
            kind="expression" if kind == "ref_exps" else "phrase",
            targets=tuple(boxes) if config.boxes else None,
        )
