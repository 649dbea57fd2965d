"""One part through the stages of the local engine, with a segmenter and a proposer of full size."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.overhead import with_segmenter, world
from ivm_data.engine.pipeline import Pipeline
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.sources.manifest import plan, read_part

SIDE = 640
"""Pixels of a scene's side: four fifths of a photograph's area."""


def placed(segmenter: Path, clipseg: Path, device: str) -> Recipe:
    """The demo's recipe on a device, with these two beside its small experts, which know the scenes' words."""

    def moved(spec: ExpertSpec) -> ExpertSpec:
        uses = {role: moved(part) for role, part in spec.uses.items()}
        return replace(spec, uses=uses, options=spec.options if uses else {**spec.options, "device": device})

    demo = recipe("demo")
    demo = replace(
        demo, rewriter=moved(demo.rewriter), verifier=moved(demo.verifier), grounders=tuple(map(moved, demo.grounders)),
        proposers=(*map(moved, demo.proposers), ExpertSpec("clipseg", {"path": str(clipseg), "device": device})),
    )  # fmt: skip
    large = ExpertSpec("sam", {"path": str(segmenter), "device": device, "dtype": "auto"})
    return with_segmenter(demo, large)


def stages(segmenter: Path, clipseg: Path, device: str, pairs: int) -> list[dict[str, Any]]:
    """A row for each stage, and one for all; the first pass warms the experts up."""
    with tempfile.TemporaryDirectory() as folder:
        part = plan(world(Path(folder), pairs, SIDE), pairs)[0]
        items = read_part(part)
        pipeline = Pipeline(placed(segmenter, clipseg, device))
        pipeline.run(part.name, items)
        began = time.perf_counter()
        result = pipeline.run(part.name, items)
        wall = time.perf_counter() - began
    taken = {timing.stage: timing.seconds for timing in result.timings}
    rows = list(taken.items())
    rows += [("all stages", sum(taken.values())), ("wall clock", wall)]
    return [{"stage": stage, "s a pair": seconds / pairs, "share": seconds / wall} for stage, seconds in rows]
