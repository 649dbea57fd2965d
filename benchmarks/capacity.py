"""What many pairs cost in hours, files and bytes, going by the seconds and bytes of a labeled data set.

    python -m benchmarks.capacity --data DATA --gpus 1 8 64 --seconds ground=0.1 segment=0.35

Stages run as the Ray engine runs them, each with actors of its own, so the slowest one sets the pace. Measured is what
comes from the data set; what `--seconds` replaces, and every product with a million, is simulated.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pyarrow.parquet as pq

from ivm_data.engine.pipeline import STAGES
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.upkeep.compact import full_file

HOUR_S = 3600
SECONDS = "select stage, sum(seconds) as seconds from timings group by stage"


@dataclass(frozen=True)
class Measured:
    """Of one pair of a data set.

    Attributes:
        seconds: of each stage, for each pair that reaches the manifest.
        light, masks, images: bytes on disk: text and scores, masks and what goes with them, image files.
    """

    pairs: int
    seconds: Mapping[str, float]
    light: float
    masks: float
    images: float

    @property
    def size(self) -> float:
        """Bytes a pair in all."""
        return self.light + self.masks + self.images


@dataclass(frozen=True)
class Plan:
    """How many actors each stage gets, and what comes of it.

    Attributes:
        pace: pairs a second.
        bottleneck: the stage whose actors are never idle.
        idle: share of the GPUs' time in which they wait for it.
    """

    actors: Mapping[str, int]
    pace: float
    bottleneck: str
    idle: float


def measure(data: Path) -> Measured:
    """Read the timings and the footers of a labeled data set."""
    with DataSet.open(data) as opened, Catalog(opened) as catalog:
        lights, heavies = opened.by_kind["light"], opened.by_kind["heavy"]
        totals = {row["stage"]: row["seconds"] for row in catalog.sql(SECONDS).to_pylist()}
        why = str(catalog.problems[0]) if catalog.problems else "label it again"
    pairs = sum(pq.read_metadata(path).num_rows for path in lights)
    if not pairs:
        raise ConfigError(f"no labels in '{data}'; label something first with 'ivm label --out {data}'")
    images = sum(map(_image_bytes, heavies))
    if missing := [stage for stage in STAGES if stage not in totals]:
        raise ConfigError(f"'{data}' has no usable timings of stage {missing[0]!r}: {why}")
    return Measured(
        pairs,
        {stage: totals[stage] / pairs for stage in STAGES},
        sum(path.stat().st_size for path in lights) / pairs,
        (sum(path.stat().st_size for path in heavies) - images) / pairs,
        images / pairs,
    )


def plan(seconds: Mapping[str, float], gpus: int, slices: int) -> Plan:
    """Give each stage one slice of a GPU, then every further slice to the stage that is slowest.

    Args:
        slices: into which a GPU is cut; a slice is taken to have that share of its speed.

    Raises:
        ConfigError: fewer slices than stages.
    """
    if gpus * slices < len(seconds):
        raise ConfigError(f"{len(seconds)} stages need as many slices, got {gpus} GPUs in {slices}; raise --slices")
    actors = dict.fromkeys(seconds, 1)
    slowest = [(-seconds[stage] * slices, stage) for stage in seconds]
    heapq.heapify(slowest)
    for _ in range(gpus * slices - len(seconds)):
        _, stage = heapq.heappop(slowest)
        actors[stage] += 1
        heapq.heappush(slowest, (-seconds[stage] * slices / actors[stage], stage))
    needed, stage = -slowest[0][0], slowest[0][1]
    return Plan(actors, 1 / needed, stage, 1 - sum(seconds.values()) / needed / gpus)


def tables(measured: Measured, options: argparse.Namespace) -> list[str]:
    """The page's tables in Markdown."""
    seconds = {**measured.seconds, **options.seconds}
    unknown = sorted(set(options.seconds) - set(STAGES))
    if unknown:
        raise ConfigError(f"no stage {unknown[0]!r}; choose from {', '.join(STAGES)}")
    origin = {stage: "given" if stage in options.seconds else "measured" for stage in seconds}
    stages = [(stage, seconds[stage], origin[stage]) for stage in seconds]
    on_gpu = {stage: value for stage, value in seconds.items() if stage != "fuse"}
    sizes = (measured.light, measured.masks, measured.images, measured.size)
    plans = [(pairs, gpus, plan(on_gpu, gpus, options.slices)) for pairs in options.pairs for gpus in options.gpus]
    compacted = "files after compaction"
    return [
        f"Measured on {measured.pairs} pairs:",
        markdown_table(("stage", "seconds a pair", "origin"), [*stages, ("all", sum(seconds.values()), "")]),
        markdown_table(
            ("bytes a pair", "light file", "masks", "image file", "all"),
            [("measured", *(f"{size:,.0f}" for size in sizes))],
        ),
        "Hours, simulated:",
        markdown_table(
            ("pairs", "GPUs", "hours", "GPU-hours", "bottleneck", "GPUs idle", "actors", "written MB/s"),
            [_hours(pairs, made, gpus, measured) for pairs, gpus, made in plans],
        ),
        "Files, simulated:",
        markdown_table(
            ("pairs", f"parts of {options.part_size}", compacted, "light GB", "all GB"),
            [_files(pairs, measured, options.part_size) for pairs in options.pairs],
        ),
    ]  # fmt: skip


def _hours(pairs: int, made: Plan, gpus: int, measured: Measured) -> Sequence[object]:
    hours = pairs / made.pace / HOUR_S
    shown = (f"{hours:,.1f}", f"{hours * gpus:,.0f}")
    actors = ", ".join(f"{stage} {count}" for stage, count in made.actors.items())
    written = f"{made.pace * measured.size / 1e6:.2f}"
    return f"{pairs:,}", gpus, *shown, made.bottleneck, f"{made.idle:.0%}", actors, written


def _files(pairs: int, measured: Measured, part_size: int) -> Sequence[object]:
    sizes = (f"{pairs * size / 1e9:,.1f}" for size in (measured.light, measured.size))
    return f"{pairs:,}", f"{ceil(pairs / part_size):,}", f"{ceil(pairs / full_file(pairs)):,}", *sizes


def _image_bytes(heavy: Path) -> int:
    footer = pq.read_metadata(heavy)
    groups = (footer.row_group(group) for group in range(footer.num_row_groups))
    columns = (group.column(index) for group in groups for index in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema == "image")


def _stage_seconds(text: str) -> tuple[str, float]:
    stage, _, value = text.partition("=")
    return stage, float(value)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labeled data set to measure")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000_000, 100_000_000])
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--slices", type=int, default=8, help="actors that share a GPU")
    parser.add_argument("--part-size", type=int, default=512, help="pairs in a part")
    parser.add_argument(
        "--seconds",
        type=_stage_seconds,
        nargs="*",
        default=[],
        help="seconds a pair of a stage on a whole GPU: ground=0.1",
    )
    options = parser.parse_args()
    options.seconds = dict(options.seconds)
    print("\n\n".join(tables(measure(options.data), options)))


if __name__ == "__main__":
    main()
