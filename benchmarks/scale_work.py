"""What `benchmarks.scale` measures: each function makes or finds its data set, and gives back the work to time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import catalog_queries
from benchmarks.scale_parts import ROWS, ManyParts, heavy_table, lineage, make, result
from ivm_data.engine.labeling_run import LabelingRun, with_parts
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan_records
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts import layout
from storage.parts.files import write_table
from storage.parts.shards import commit_part
from storage.upkeep.compact import compact

Call = Callable[[], Any]
COMMITS = 20
FILES = 100
AGAIN = 3
"""Queries that are asked once more."""
LITTLE = {"report": 1000, "slowest": 1000}
"""Sizes of the first measurement where they are rows."""


def _parts(scratch: Path, size: int) -> ManyParts:
    """A data set of so many parts; one that is there already is taken as it is."""
    folder = scratch / f"parts-{size}"
    _whole(folder, partial(make, parts=size))
    return ManyParts(folder / "m.jsonl", folder / "data", plan_records(folder / "m.jsonl", ROWS))


def _copy(made: ManyParts) -> ManyParts:
    """One to change: its files are links to the same bytes."""
    data = made.data.with_name("changed")
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(made.data, data, copy_function=lambda source, target: Path(target).hardlink_to(source))
    return replace(made, data=data)


def _run(made: ManyParts) -> LabelingRun:
    return LabelingRun(made.data, (), recipe("demo"), lineage(), plan=made.plan)


def open_parts(scratch: Path, size: int) -> Call:
    """The parts of a manifest that are to be labeled, half of them, each asked for as a run does."""
    made = _parts(scratch, size)
    others = [replace(part, name=f"other-{part.name}") for part in made.plan.parts]
    run = replace(_run(made), parts=(*made.plan.parts, *others))

    def work() -> None:
        waiting = {part.name for part in run.open_parts()}
        assert len(waiting) == size
        assert sum(run.has(part) for part in run.parts) == size

    return work


def plan(scratch: Path, size: int) -> Call:
    """Planning of an edited manifest: what was labeled is left out."""
    made = _parts(scratch, size)
    grown = made.manifest.with_name("grown.jsonl")
    first = "".join(f'{{"image": "{n}.jpg", "instruction": "Find one more."}}\n' for n in range(ROWS))
    grown.write_text(first + made.manifest.read_text())

    def work() -> None:
        run = with_parts(replace(_run(made), plan=plan_records(grown, ROWS)), ())
        assert run.known == size * ROWS

    return work


def commit(scratch: Path, size: int) -> Call:
    """Seconds of one commit beside `size` others."""
    made = _parts(scratch, size)
    more = make(scratch / "more", 0, size + COMMITS)
    results = [result(more, part) for part in more.plan.parts[size:]]
    changed, alone = _copy(made), scratch / "alone"
    shutil.rmtree(alone, ignore_errors=True)

    def each(data: Path) -> float:
        began = time.process_time()
        for one in results:
            assert commit_part(data, one).fresh
        return (time.process_time() - began) / COMMITS

    return lambda: (each(changed.data), f"{1000 * each(alone):.1f} ms in an empty folder")


def catalog(scratch: Path, size: int) -> Call:
    """Opening a catalog of parts that were never compacted."""
    made = _parts(scratch, size)
    return lambda: Catalog(made.data).close()


def query(scratch: Path, size: int) -> Call:
    """The second `count(*)` of an opened catalog."""
    opened = Catalog(_parts(scratch, size).data)
    ask = partial(opened.sql, "SELECT count(*) FROM labels")
    assert ask().to_pylist() == [{"count_star()": size * ROWS}]
    return ask


def train(scratch: Path, size: int) -> Call:
    """What a training that streams does before its first step, apart from the model: as `train_dwsl` does it."""
    from ivm_model.data.row_reader import RowReader
    from ivm_model.data.training_index import index_of
    from ivm_model.data.training_rows import RowsConfig

    made = _copy(_parts(scratch, size))

    def work() -> None:
        with DataSet.open(made.data) as data:
            snapshot = data.freeze().name
            index = index_of(data.at(None, snapshot), RowsConfig(snapshot=snapshot))
            rows = index.of("human", "machine")
            assert len(rows) and len(rows.groups) == len(rows) == len(rows.image_K) and rows.content_hash
            assert len(RowReader(rows, 16).rows(range(min(64, len(rows))), {}))

    return work


def coco(scratch: Path, size: int) -> Call:
    """An export of all accepted labels."""
    from ivm_data.exports.run import Selection, export

    made, out = _parts(scratch, size), scratch / "exported"
    shutil.rmtree(out, ignore_errors=True)

    def work() -> tuple[float, str]:
        began = time.process_time()
        counts = export("coco", made.data, out, Selection(statuses=("accepted", "review", "rejected")), {})
        seconds = time.process_time() - began
        return seconds, f"{counts.labels / seconds:.0f} labels a second"

    return work


def label_done(scratch: Path, size: int) -> Call:
    """The flow, on a server of its own, of which nothing is counted."""
    made = _parts(scratch, size)
    _server()
    from flows.label import label

    return partial(label, made.manifest, made.data, part_size=ROWS, compact=False)


@cache
def _server() -> object:
    from prefect.testing.utilities import prefect_test_harness

    harness = prefect_test_harness(server_startup_timeout=300)
    harness.__enter__()
    return harness


def compaction(scratch: Path, size: int) -> Call:
    """All parts into few files."""
    made = _copy(_parts(scratch, size))
    return partial(compact, made.data)


def _rows(scratch: Path, size: int) -> Path:
    data = scratch / f"rows-{size}"
    _whole(data, partial(_write_rows, rows=size))
    return data


def _write_rows(data: Path, rows: int) -> None:
    catalog_queries.write(data, rows, FILES)
    for light in (data / "labels").rglob(f"*{layout.LIGHT}"):
        write_table(layout.heavy_path(light), heavy_table(light))


def _whole(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder, unless it was written to its end; a file beside it says so. Records hold the folder's name."""
    written = folder.with_name(f"{folder.name}.whole")
    if not written.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
        written.touch()


def report(scratch: Path, size: int) -> Call:
    """The report of one recipe."""
    from ivm_data.report.build import write_report

    return partial(write_report, _rows(scratch, size), scratch / "report.html")


def slowest(scratch: Path, size: int) -> Call:
    """Every named query and cleaning rule, and the slowest ones once more; the CPU seconds of the slowest then."""
    data = _rows(scratch, size)

    def work() -> tuple[float, str]:
        with Catalog(data) as opened:
            every = dict(catalog_queries.calls(opened))
            opened.sql("SELECT count(quality) FROM labels")  # Reads the footers.
            first = {name: catalog_queries.timed(call)[1] for name, call in every.items()}
            again = sorted(first, key=first.__getitem__)[-AGAIN:]
            seconds, name = max((catalog_queries.timed(every[name])[1], name) for name in again)
        return seconds, name

    return work


MAKE: dict[str, Callable[[Path, int], object]] = {"parts": _parts, "rows": _rows}
"""What makes a data set that is not there yet, by what its size counts."""

WORK: dict[str, Callable[[Path, int], Call]] = {
    "open-parts": open_parts,
    "plan": plan,
    "commit": commit,
    "catalog": catalog,
    "query": query,
    "train": train,
    "coco": coco,
    "label-done": label_done,
    "compact": compaction,
    "report": report,
    "slowest": slowest,
}
