"""Labeling without experts: planning, reading and committing are the engine's own, a label follows from its sample."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ivm_data.engine.labeling import commit, read, settle, skipped
from ivm_data.engine.labeling_run import LabelingRun, with_parts
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan_records
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.pixels import rle
from storage.records import Label, Lineage, PartResult, Rejection, Sample, Scores, Status
from storage.request import Request

RECIPE = "0123456789ab"
SIZE = 16
PAIRS = [(image, instruction) for image in range(5) for instruction in range(2)]
"""Those of the fixture `records`."""


def write_images(folder: Path, count: int) -> None:
    for index in range(count):
        stream = io.BytesIO()
        Image.fromarray(np.full((SIZE, SIZE, 3), index, np.uint8)).save(stream, format="PNG")
        (folder / f"{index}.png").write_bytes(stream.getvalue())


def lines(*pairs: tuple[int | str, int], **more: object) -> list[str]:
    """A record for each (image, instruction)."""
    return [
        json.dumps({"image": f"{image}.png", "instruction": f"Find ring {instruction}.", **more})
        for image, instruction in pairs
    ]


def write_manifest(folder: Path, records: list[str], name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{record}\n" for record in records), encoding="utf-8")
    return path


def encoded(rows: Iterable[int]) -> dict[str, object]:
    """The mask of some rows of pixels, as a manifest says it."""
    mask_HW = np.zeros((SIZE, SIZE), bool)
    mask_HW[list(rows)] = True
    mask = rle.encode(mask_HW)
    return {"size": [SIZE, SIZE], "counts": mask.counts.decode()}


@dataclass
class Labeler:
    """Labels a folder and counts what it was asked for.

    Attributes:
        silent: instructions that the rewriter gives no answer for now.
        remote: URL of an object store, or "".
    """

    data: Path
    silent: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    remote: str = ""

    def prepare(self, manifest: Path, part_size: int = 3, again: tuple[str, ...] = ()) -> LabelingRun:
        self.data.mkdir(exist_ok=True)
        lineage = Lineage(RECIPE, (("grounder", "dino@1"),))
        plan = plan_records(manifest, part_size)
        return with_parts(LabelingRun(self.data, (), recipe("demo"), lineage, remote=self.remote, plan=plan), again)

    def label(self, manifest: Path, part_size: int = 3, again: tuple[str, ...] = (), old: bool = False) -> int:
        """Label a manifest; returns how many pairs the experts were asked for."""
        before = self.asked.total()
        run = self.prepare(manifest, part_size, again)
        for part in run.parts:
            self.part(run, part, old)
        if not old:
            settle(run, lambda _, reading: self.result(reading))
        return self.asked.total() - before

    def part(self, run, part, old=False):
        reading = read(run, part)
        if reading is None:
            return skipped(part)
        result = self.result(reading)
        return commit(run, replace(result, inputs=()) if old else result)

    def result(self, reading) -> PartResult:
        outcomes = tuple(item if isinstance(item, Rejection) else self.outcome(item) for item in reading.items)
        return PartResult(reading.part, RECIPE, outcomes, (), reading.inputs)

    def outcome(self, sample: Sample) -> Label | Rejection:
        self.asked[sample.id] += 1
        if sample.instruction in self.silent:
            return Rejection(
                sample.id, "rewrite", "not_rewritten", "no answer", sample.source, sample.image_uri, sample.instruction
            )
        mask_HW = np.zeros((sample.height, sample.width), bool)
        mask_HW[: 1 + int(hashlib.md5(sample.id.encode()).hexdigest(), 16) % SIZE] = True
        return Label(
            sample,
            Request.of(("ring",)),
            (),
            (),
            rle.encode(mask_HW),
            Scores(quality=0.5),
            (Status.ACCEPTED, Status.REVIEW)[int(sample.id, 16) % 2],
            "ok",
            Lineage(RECIPE, (("grounder", "dino@1"),)),
        )


def sql(data: Path, query: str) -> list[dict[str, object]]:
    """The rows of an answer."""
    with Catalog(data) as catalog:
        return catalog.sql(query).to_pylist()


def counted(data: Path) -> dict[str, str]:
    """Sample id -> status or reason of everything that counts, apart from repetitions; each once."""
    with DataSet.open(data) as opened:
        rows = [row for batch in opened.light_batches(["sample_id", "status", "reason"]) for row in batch.to_pylist()]
    rows = [row for row in rows if row["reason"] != "duplicate"]
    assert len({row["sample_id"] for row in rows}) == len(rows), "a sample counts twice"
    return {row["sample_id"]: row["status"] or row["reason"] for row in rows}
