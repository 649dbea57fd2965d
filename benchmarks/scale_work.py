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
LITTLE = {"report": 1000, "slowest": 1000}
"""Sizes of the first measurement where they are rows."""


def _parts(scratch: Path, size: int, planned: int | None = None) -> ManyParts:
    """A data set of so many parts; one that is there already is taken as it is."""
    folder = scratch / f"parts-{size}{f'-of-{planned}' if planned else ''}"
    if (folder / "data").is_dir():
        return ManyParts(folder / "m.jsonl", folder / "data", plan_records(folder / "m.jsonl", ROWS))
    return make(folder, size, planned)


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
    made = _parts(scratch, size, 2 * size)
    run = replace(_run(made), parts=tuple(made.plan.parts))

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
    more = make(scratch / "more", 0, COMMITS)
    results = [result(more, part) for part in more.plan.parts]
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

    return partial(label, made.manifest, made.data, part_size=ROWS)


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
    if not data.is_dir():
        catalog_queries.write(data, size, FILES)
        for light in (data / "labels").rglob(f"*{layout.LIGHT}"):
            write_table(layout.heavy_path(light), heavy_table(light))
    return data


def report(scratch: Path, size: int) -> Call:
    """The report of one recipe."""
    from ivm_data.report.build import write_report

    return partial(write_report, _rows(scratch, size), scratch / "report.html")


def slowest(scratch: Path, size: int) -> Call:
    """Every named query and cleaning rule, twice; the CPU seconds of the slowest second run."""
    data = _rows(scratch, size)

    def work() -> tuple[float, str]:
        found = {}
        with Catalog(data) as opened:
            for name, call in catalog_queries.calls(opened):
                call()
                found[name] = catalog_queries.timed(call)[1]
        name = max(found, key=found.__getitem__)
        return found[name], name

    return work


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
