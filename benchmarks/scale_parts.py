"""Data sets of many parts, written at once: the real schema and hashes, without what makes a commit safe."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from ivm_data.engine.pipeline import lineage_of
from ivm_data.experts.registry import name_of
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan_records
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from storage.data_set import DataSet
from storage.inputs import facts, words
from storage.parts import layout, schema
from storage.parts.files import CONTENT, write_tables
from storage.parts.row_hashes import combine, fact_digests, row_digests
from storage.parts.rows import HEAVY_ROWS, fact_row, heavy_rows, light_rows
from storage.pixels import rle
from storage.reading import counting
from storage.records import (
    MISSING,
    Box,
    Candidate,
    Input,
    Label,
    Lineage,
    PartResult,
    Proposal,
    Sample,
    Scores,
    Status,
    Timing,
    sample_id,
)
from storage.request import Request

ROWS = 10
"""Labels of a part."""

SIDE = 96
KINDS = 20
"""Labels that are made; all others are these with a name and an image of their own."""


@dataclass(frozen=True)
class ManyParts:
    """A manifest, and a data set that holds the first `parts` of its parts."""

    manifest: Path
    data: Path
    plan: ManifestPlan

    def part(self, index: int) -> ManifestPart:
        """A part of the manifest."""
        return self.plan.parts[index]


@cache
def lineage() -> Lineage:
    """What a run with the recipe `demo` would say of its labels."""
    return lineage_of(recipe("demo"), name_of)


def make(folder: Path, parts: int, planned: int | None = None) -> ManyParts:
    """A manifest of `planned` parts of `ROWS` pairs, of which the first `parts` are committed; by default all.

    As a run leaves it, which notes at its end which rows count.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest, data = folder / "m.jsonl", folder / "data"
    lines = (json.dumps({"image": f"{n}.jpg", "instruction": _ask(n)}) for n in range(ROWS * (planned or parts)))
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = ManyParts(manifest, data, plan_records(manifest, ROWS))
    for part in made.plan.parts[:parts]:
        _write(data, result(made, part))
    if parts:
        with DataSet.open(data) as opened:
            counting.remember(opened)
    return made


def result(made: ManyParts, part: ManifestPart) -> PartResult:
    """What labeling a part might give."""
    labels = tuple(_label(n) for n in range(part.first, part.first + part.records))
    records = made.plan.record_N[part.first : part.first + part.records].tolist()
    inputs = tuple(
        Input(
            record.ljust(16, b"\x00"),
            one.sample.id,
            facts(one.sample.human_mask, (), one.sample.held_out),
            words("", "", ""),
        )
        for record, one in zip(records, labels, strict=True)
    )
    stages = ("rewrite", "ground", "resolve", "segment", "fuse", "verify", "gate")
    timings = tuple(Timing(part.name, lineage().recipe, stage, 0.5, part.records) for stage in stages)
    return PartResult(part.name, lineage().recipe, labels, timings, inputs)


def _ask(number: int) -> str:
    return f"Find the red ring number {number}."


def _label(number: int) -> Label:
    one, image = _kinds()[number % KINDS], _image() + number.to_bytes(8, "little")
    sample = replace(
        one.sample, id=sample_id(image, _ask(number)), image=image, image_uri=f"{number}.jpg", instruction=_ask(number)
    )
    return replace(one, sample=sample)


@cache
def _image() -> bytes:
    pixels_HWC = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels_HWC).save(stream, format="JPEG", quality=50)
    return stream.getvalue()


@cache
def _kinds() -> tuple[Label, ...]:
    return tuple(_kind(np.random.default_rng(seed), seed) for seed in range(KINDS))


def _kind(rng: np.random.Generator, seed: int) -> Label:
    truth_HW = np.zeros((SIDE, SIDE), bool)
    x, y, w, h = (int(each) for each in rng.integers(8, SIDE // 2, 4))
    truth_HW[y : y + h, x : x + w] = True
    mask, human = rle.encode(np.roll(truth_HW, int(rng.integers(0, 6)), axis=1)), rle.encode(truth_HW)
    proposals = tuple(
        Proposal(expert, mask, *(float(one) for one in rng.random(4)), iou_with_label=0.9)
        for expert in ("a@1+b@1", "c@1")
    )
    scores = Scores(**{name: float(rng.random()) for name in schema.SCORES})
    box = Box(x, y, x + w, y + h)
    drawn = seed % 4 == 0
    said = {"human_mask": human if drawn else None, "held_out": seed % 8 == 0}
    return Label(
        sample=Sample("", b"", "", SIDE, SIDE, "", f"source-{seed % 4}", **said),
        request=Request.of(("red ring",)),
        candidates=tuple(
            Candidate("a@1", "red ring", "target", box, 0.8, 0.9, 0.5, chosen) for chosen in (True, False, False)
        ),
        proposals=proposals,
        mask=mask,
        scores=scores,
        status=(Status.ACCEPTED, Status.ACCEPTED, Status.REVIEW, Status.REJECTED)[seed // 4 % 4],
        reason="ok",
        lineage=lineage(),
        human_iou=rle.iou(mask, human) if drawn else MISSING,
    )


def _write(data: Path, part: PartResult) -> None:
    """The files of a commit, without its locks and syncs."""
    lights, heavies = list(light_rows(part)), list(heavy_rows(part))
    content = combine([*row_digests(lights, schema.LIGHT), *row_digests(heavies, schema.HEAVY)])
    light = layout.light_path(data, part.recipe, part.part)
    keys = {"recipe": part.recipe, "part": part.part}
    inputs = [keys | fact_row(one) for one in part.inputs]
    timings = [fact_row(one) for one in part.timings]
    timed = combine(fact_digests(timings, schema.TIMINGS))
    beside = {kind: data / kind / part.recipe / f"{part.part}.parquet" for kind in ("inputs", "timings")}
    written = (
        (layout.heavy_path(light), schema.HEAVY, heavies, content),
        (light, schema.LIGHT, lights, content),
        (beside["inputs"], schema.INPUTS, inputs, ""),
        (beside["timings"], schema.TIMINGS, timings, timed),
    )
    for path, kind, rows, hashed in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tables(path, kind, [pa.Table.from_pylist(rows, schema=kind)], len(rows), {CONTENT: hashed.encode()})


def heavy_table(light: Path) -> pa.Table:
    """Rows of a heavy file beside a light one of `benchmarks.catalog_queries`: a small picture and masks for each."""
    columns = ["recipe", "part", "position", "sample_id", "height", "width", "image_sha"]
    labels = pq.read_table(light, columns=columns, filters=pc.field("outcome") == "label")
    rows, shas = len(labels), labels["image_sha"].to_pylist()
    seen = [(row // HEAVY_ROWS, sha) for row, sha in enumerate(shas)]
    first = [row == 0 or seen[row] != seen[row - 1] for row in range(rows)]
    mask_HW = np.zeros((480, 640), bool)
    mask_HW[100:300, 200:400] = True
    mask = pa.scalar(rle.encode(mask_HW).counts, pa.binary())
    made = {
        "image": pa.array([_image() if one else None for one in first], pa.binary()),
        "mask": pa.repeat(mask, rows),
        "human_mask": pa.nulls(rows, pa.binary()),
        "proposal_masks": pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * 2, pa.repeat(mask, 2 * rows)),
    }
    arrays = [made[field.name] if field.name in made else labels[field.name] for field in schema.HEAVY]
    return pa.table(
        [array.cast(field.type) for array, field in zip(arrays, schema.HEAVY, strict=True)], schema=schema.HEAVY
    )
