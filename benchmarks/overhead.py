"""What the pipeline costs around its experts: a run, its time within model forwards, and a loop over its calls."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.modules import module as hooks

from benchmarks.full_size import save_sam
from ivm_data.engine.pipeline import Pipeline
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world

VERBS = ("rewrite", "ground", "p_yes", "segment", "propose")
PAIRS_A_SCENE = 4
SIDE = 640
"""Pixels of a scene's side beside a segmenter of full size: four fifths of a photograph's area."""
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def overhead(segmenter: str, pairs: int, rounds: int, threads: int) -> list[dict[str, Any]]:
    """A row: medians over the rounds, which run the pipeline and the loop in turn.

    Args:
        segmenter: "embedded"; or "SAM ViT-B", with random weights, and then larger images.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    full_size = segmenter != "embedded"
    with tempfile.TemporaryDirectory() as folder:
        manifest = world(Path(folder), pairs, SIDE if full_size else None)
        part = plan(manifest, pairs)[0]
        items = read_part(part)
        chosen = recipe("demo")
        if full_size:
            save_sam(Path(folder), architecture="vit-b")
            chosen = with_segmenter(chosen, ExpertSpec("sam", {"path": folder}))
        pipeline = Pipeline(chosen)
        calls = record(chosen, lambda: pipeline.run(part.name, items))
    runs, loops, outside = [], [], []
    for _ in range(rounds):
        fresh = with_fresh_images(calls)
        loops.append(timed(lambda fresh=fresh: [verb(*args) for verb, args in fresh]))
        with model_forwards() as inside:
            runs.append(timed(lambda: pipeline.run(part.name, items)))
        outside.append(1 - sum(inside) / runs[-1][0])
    (run, run_cpu), (loop, loop_cpu) = (
        [median(column) for column in zip(*each, strict=True)] for each in (runs, loops)
    )
    return [{
        "segmenter": segmenter, "pairs": len(items), "calls": len(calls),
        "pipeline s": run, "outside model forwards": median(outside), "plain loop s": loop, "overhead": run / loop - 1,
        "pipeline CPU s": run_cpu, "plain loop CPU s": loop_cpu, "CPU overhead": run_cpu / loop_cpu - 1,
    }]  # fmt: skip


def world(folder: Path, pairs: int, side: int | None) -> Path:
    """A manifest of procedural scenes, enlarged to `side` pixels and then without their masks."""
    scenes = -(-pairs // PAIRS_A_SCENE)
    manifest = write_world(folder, "test", scenes, PAIRS_A_SCENE, human_share=0.0 if side else 0.25)
    if side is None:
        return manifest
    for file in (folder / "images").iterdir():
        Image.open(file).resize((side, side), Image.Resampling.BICUBIC).save(file)
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    bare = [json.dumps({name: row[name] for name in ("image", "instruction")}) for row in rows]
    manifest.write_text("\n".join(bare) + "\n", encoding="utf-8")
    return manifest


def with_segmenter(chosen: Recipe, segmenter: ExpertSpec) -> Recipe:
    """The recipe with this segmenter in the place of its own, also within its proposers."""
    proposers = tuple(
        replace(spec, uses={**spec.uses, "segmenter": segmenter}) if "segmenter" in spec.uses else spec
        for spec in chosen.proposers
    )
    return replace(chosen, segmenter=segmenter, proposers=proposers)


@contextmanager
def model_forwards() -> Iterator[list[float]]:
    """Seconds of each outermost call of a torch module, from whichever thread, while the context lasts."""
    inside: list[float] = []
    local = threading.local()

    def enter(*_: Any) -> None:
        starts = local.__dict__.setdefault("starts", [])
        starts.append(time.perf_counter())

    def leave(*_: Any) -> None:
        start = local.starts.pop()
        if not local.starts:
            inside.append(time.perf_counter() - start)

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


def record(chosen: Recipe, run: Callable[[], Any]) -> list[Call]:
    """The calls of a run to the recipe's experts, without those that an expert makes to another."""
    specs = (chosen.rewriter, *chosen.grounders, chosen.segmenter, chosen.verifier, *chosen.proposers)
    experts = {id(expert): expert for expert in map(get, specs)}.values()
    calls: list[Call] = []
    depth = [0]

    def recorded(verb: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if not depth[0]:
                calls.append((verb, args))
            depth[0] += 1
            try:
                return verb(*args)
            finally:
                depth[0] -= 1

        return call

    wrapped = [(expert, name) for expert in experts for name in VERBS if hasattr(expert, name)]
    for expert, name in wrapped:
        setattr(expert, name, recorded(getattr(expert, name)))
    try:
        run()
    finally:
        for expert, name in wrapped:
            delattr(expert, name)
    return calls


def with_fresh_images(calls: list[Call]) -> list[Call]:
    """The calls with copies of their images, one for each array, so that no embedding is remembered from before."""
    copies: dict[int, np.ndarray] = {}

    def copied(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [copies.setdefault(id(array), array.copy()) for array in value]
        return value

    return [(verb, tuple(map(copied, args))) for verb, args in calls]


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """(wall-clock, CPU of all threads) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu
