"""How long opening a data set, each named query and each cleaning rule take.

`python -m benchmarks.catalog_queries --rows 1000000 --files 100`

The rows are synthetic but of the real schema, written through the real writer; the times are medians of warm runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from ivm_data.quality.rules import RULES
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.parts import layout, schema
from storage.parts.files import alone_in, write_table
from storage.sql.queries import named_queries

_CLEAN = "SELECT source, status, count(*), avg(quality) FROM clean_labels GROUP BY ALL"
RECIPE = "benchmark"
EXPERTS = ("dino@1+sam@1", "heat@1")
REVIEWERS = ("anna", "ben")
PAIRS_PER_IMAGE = 3
COPIES = 0.01
"""Share of the images that are a near copy of another one."""
REPEATED = 0.02
"""Share of the rows that ask again what was asked before; two in three of an image that was asked about before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="outcomes in all")
    parser.add_argument("--files", type=int, default=100, help="parts that they are spread over")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each query")
    parser.add_argument("--data", type=Path, help="folder to keep the data set in, and to find it again")
    parser.add_argument("--out", type=Path, help="JSON file for the times, as in benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or Path(scratch)
        if not (data / "labels").exists():
            seconds, _ = timed(lambda: write(data, options.rows, options.files))
            print(f"wrote {options.rows:,} rows in {options.files} parts in {seconds:.1f} s")
        print(f"light files: {sum(path.stat().st_size for path in data.rglob('*.light.parquet')) / 1e6:.0f} MB")
        load = os.getloadavg()
        medians = report(data, options.repeats)
    if options.out:
        record = {"command": f"python -m benchmarks.catalog_queries --rows {options.rows} --files {options.files}"}
        record |= {"cores": os.cpu_count(), "load before": load[0], "duckdb": duckdb.__version__, "queries": medians}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def report(data: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Print and return the medians."""
    print(f"open the catalog: {1000 * timed(lambda: Catalog(data).close())[0]:.0f} ms", flush=True)
    medians = {}
    with Catalog(data) as catalog:
        if catalog.error:
            raise SystemExit(str(catalog.error))
        for name, call in calls(catalog):
            medians[name] = np.median([timed(call) for _ in range(repeats)], axis=0)
            print(f"{name}: {medians[name][1]:.2f} s of CPU", file=sys.stderr, flush=True)
    slowest_first = sorted(medians.items(), key=lambda item: -item[1][1])
    rows = [[name, *(f"{1000 * seconds:.0f}" for seconds in both)] for name, both in slowest_first]
    print("\n" + markdown_table(["query", "ms", "CPU ms"], rows))
    return {name: {"s": round(wall, 3), "CPU s": round(cpu, 3)} for name, (wall, cpu) in slowest_first}


def calls(catalog: Catalog) -> Iterator[tuple[str, Callable[[], object]]]:
    for query in named_queries():
        yield query.name, partial(catalog.query, query.name)
    for rule in RULES:
        yield f"rule {rule.name}", partial(catalog.sql, rule.query.sql, **rule.query.bind({}))
    yield "clean_labels", partial(catalog.sql, _CLEAN)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """(wall-clock, CPU of all threads) seconds; on a busy machine only the second means something."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def write(data: Path, rows: int, files: int) -> None:
    for index in range(files):
        count = rows * (index + 1) // files - rows * index // files
        part = f"part-{index:05d}"
        light = layout.light_path(data, RECIPE, part)
        table = light_table(part, count, np.random.default_rng(index))
        with alone_in(light.parent):
            write_table(layout.heavy_path(light), schema.HEAVY.empty_table())
            write_table(light, table)
        for folder, facts in (
            ("weights", weights_table(table, index)),
            ("timings", timings_table(part, count, index)),
            ("measures", measures_table(table, index)),
            ("decisions", decisions_table(table)),
            ("evaluation", evaluation_table(index)),
            *(("reviews/" + person, reviews_table(table, person, index)) for person in REVIEWERS),
        ):
            path = data / folder / ("" if "/" in folder else RECIPE) / f"{part}.parquet"
            with alone_in(path.parent):
                write_table(path, facts)


def light_table(part: str, rows: int, rng: np.random.Generator) -> pa.Table:
    """A part of `rows` outcomes: one in twenty is a rejection, one in ten labels has a human mask."""
    label = rng.random(rows) >= 0.05
    human = label & (rng.random(rows) < 0.1)
    quality = rng.random(rows)
    status = np.array(["rejected", "review", "accepted"])[np.digitize(quality, [0.3, 0.6])]
    area = rng.lognormal(-2.5, 1.0, rows).clip(1e-4, 1)
    ids = [rng.bytes(16).hex() for _ in range(rows)]
    images = [ids[row - row % PAIRS_PER_IMAGE] for row in range(rows)]
    again = np.arange(rows) - (rng.random(rows) < REPEATED)
    asked = [ids[row] for row in again.clip(0)]
    columns = {
        "recipe": [RECIPE] * rows,
        "part": [part] * rows,
        "position": np.arange(rows, dtype=np.int32),
        "sample_id": ids,
        "outcome": np.where(label, "label", "rejection"),
        "source": np.char.add("source-", rng.integers(0, 8, rows).astype(str)),
        "kind": np.array(["attribute", "relation", "question"])[rng.integers(0, 3, rows)],
        "difficulty": np.array(["easy", "medium", "hard"])[rng.integers(0, 3, rows)],
        "held_out": human & (rng.random(rows) < 0.5),
        "image_uri": [f"images/{name[:12]}.jpg" for name in images],
        "image_sha": images,
        "width": masked(np.full(rows, 640, dtype=np.int32), label),
        "height": masked(np.full(rows, 480, dtype=np.int32), label),
        "instruction": [f"Put the red ring number {name[:6]} on the green star." for name in asked],
        "status": masked(status, label),
        "stage": masked(np.full(rows, "ground"), ~label),
        "reason": np.where(label, np.where(status == "accepted", "ok", "low_quality"), "no_box"),
        "detail": masked(np.full(rows, "no box for a phrase"), ~label),
        "rewrite": structs(schema.LIGHT.field("rewrite").type, rows, rng, label),
        **{name: masked(rng.random(rows).astype(np.float32).astype(float), label) for name in schema.SCORES},
        "human_iou": masked(rng.random(rows), human),
        "has_human": human,
        "area": masked((area * 640 * 480).astype(np.int64), label),
        "human_area": masked((area * 640 * 480).astype(np.int64), human),
        **{name: lists(name, count, rng, label) for name, count in LENGTHS.items()},
    }
    columns |= {"quality": masked(quality, label), "area_ratio": masked(area, label)}
    columns["incomplete"] = masked(rng.random(rows) < 0.05, label)
    later = {name: pa.nulls(rows) for name in schema.LATER}
    arrays = [pa.array((later | columns)[field.name]).cast(field.type) for field in schema.LIGHT]
    return pa.Table.from_arrays(arrays, schema=schema.LIGHT)


LENGTHS = {"candidates": 3, "proposals": 2, "pairs": 1, "experts": 3}


def masked(values: np.ndarray, keep: np.ndarray) -> pa.Array:
    return pa.array(values, mask=~keep)


def lists(column: str, count: int, rng: np.random.Generator, keep: np.ndarray) -> pa.Array:
    """`count` random elements a row, NULL where not `keep`."""
    kind = schema.LIGHT.field(column).type
    offsets = np.arange(len(keep) + 1, dtype=np.int32) * count
    elements = structs(kind.value_type, len(keep) * count, rng)
    return pa.ListArray.from_arrays(pa.array(offsets), elements, type=kind, mask=pa.array(~keep))


def structs(kind: pa.StructType, rows: int, rng: np.random.Generator, keep: np.ndarray | None = None) -> pa.Array:
    mask = None if keep is None else pa.array(~keep)
    return pa.StructArray.from_arrays([values(f.type, rows, rng) for f in kind], fields=list(kind), mask=mask)


def values(kind: pa.DataType, rows: int, rng: np.random.Generator) -> pa.Array:
    if pa.types.is_struct(kind):
        return structs(kind, rows, rng)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32), values(kind.value_type, rows, rng))
    if pa.types.is_string(kind):
        return pa.array(np.array(EXPERTS)[np.arange(rows) % 2])
    return pa.array(rng.random(rows)).cast(kind, safe=False) if kind != pa.bool_() else pa.array(rng.random(rows) < 0.5)


def weights_table(light: pa.Table, seed: int) -> pa.Table:
    labels = light.filter(pa.compute.equal(light["outcome"], "label"))
    columns = {
        "sample_id": labels["sample_id"],
        "recipe": labels["recipe"],
        "discriminator": pa.array([RECIPE] * len(labels)),
        "d": pa.array(np.random.default_rng(seed).random(len(labels))),
        "fold": pa.array(np.arange(len(labels), dtype=np.int32) % 2),
    }
    return pa.table(columns, schema=schema.WEIGHTS)


def measures_table(light: pa.Table, seed: int) -> pa.Table:
    """Random hashes, but for near copies: those have the hash of the image before with one bit turned over."""
    labels = light.filter(pa.compute.equal(light["outcome"], "label"))
    rng, rows = np.random.default_rng(seed), len(labels)
    _, image_N = np.unique(labels["image_sha"].to_numpy(), return_inverse=True)
    hash_I = rng.integers(0, 2**64, image_N.max() + 1, dtype=np.uint64)
    copy_C = np.flatnonzero(rng.random(len(hash_I) - 1) < COPIES) + 1
    hash_I[copy_C] = hash_I[copy_C - 1] ^ (np.uint64(1) << rng.integers(0, 64, len(copy_C), dtype=np.uint64))
    box = {side: rng.random(rows) * 400 + (100 if side.endswith("1") else 0) for side in ("x0", "y0", "x1", "y1")}
    votes = pa.ListArray.from_arrays(
        np.arange(rows + 1, dtype=np.int32), values(schema.MEASURES.field("votes").type.value_type, rows, rng)
    )
    columns = {name: labels[name] for name in ("recipe", "part", "position", "sample_id", "image_sha")} | {
        "image_hash": pa.array(hash_I[image_N]),
        "components": pa.array(rng.integers(1, 12, rows, dtype=np.int32)),
        "largest": pa.array(rng.random(rows)),
        "extent": pa.StructArray.from_arrays(
            list(map(pa.array, box.values())), fields=list(schema.MEASURES.field("extent").type)
        ),
        "votes": votes,
    }
    arrays = [columns[field.name].cast(field.type) for field in schema.MEASURES]
    return pa.Table.from_arrays(arrays, schema=schema.MEASURES)


def decisions_table(light: pa.Table) -> pa.Table:
    """Every twentieth label is excluded."""
    labels = light.filter(pa.compute.equal(light["outcome"], "label"))
    few = labels.take(np.arange(0, len(labels), 20))
    same = {
        "rule": "benchmark",
        "scope": "mask",
        "verdict": "exclude",
        "reason": "z is 4",
        "parameters": "{}",
        "who": "me",
    }
    same |= {"decided_at": "2025-01-01T00:00:00.000000Z"}
    columns = {"sample_id": few["sample_id"], "recipe": few["recipe"]}
    columns |= {name: pa.array([text] * len(few)) for name, text in same.items()}
    return pa.table(columns, schema=schema.DECISIONS)


def timings_table(part: str, rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    stages = ("rewrite", "ground", "resolve", "segment", "fuse", "verify", "gate")
    tokens = {"requests": rows, "prompt_tokens": 700 * rows, "completion_tokens": 20 * rows}
    same = {"part": part, "recipe": RECIPE, "rows": rows} | tokens
    facts = [same | {"stage": stage, "seconds": 9 * rng.random()} for stage in stages]
    return pa.Table.from_pylist(facts, schema=schema.TIMINGS)


def evaluation_table(seed: int) -> pa.Table:
    """A hundred images that no training may see."""
    rng = np.random.default_rng(seed)
    same = {"evaluation_set": RECIPE}
    images = [
        same | {"image_uri": f"{i}.jpg", "image_sha": rng.bytes(16).hex(), "image_hash": int(hashed)}
        for i, hashed in enumerate(rng.integers(0, 2**64, 100, dtype=np.uint64))
    ]
    return pa.Table.from_pylist(images, schema=schema.EVALUATION)


def reviews_table(light: pa.Table, person: str, seed: int) -> pa.Table:
    """Every fiftieth label, the same ones for every person, so that there are pairs to compare."""
    rng = np.random.default_rng([seed, REVIEWERS.index(person)])
    few = light.filter(pa.compute.equal(light["outcome"], "label"))["sample_id"].to_pylist()[::50]
    same = {"recipe": RECIPE, "reviewer": person, "note": "", "mask": None}
    verdicts = [
        same
        | {"sample_id": one, "verdict": ("right", "wrong")[rng.integers(2)]}
        | {"reviewed_at": f"2025-01-01T00:{second // 60 % 60:02d}:{second % 60:02d}.000000Z"}
        for second, one in enumerate(few)
    ]
    return pa.Table.from_pylist(verdicts, schema=schema.REVIEWS)


if __name__ == "__main__":
    main()
