"""What a changed recipe costs on pairs that were labeled before, beside the same from nothing.

    python -m benchmarks.reuse --scenes 60

Every run has a folder of its own, in this process, with its models loaded anew. The other LMM is the embedded one with
noise in its weights.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts import registry
from ivm_data.experts.answers.place import place
from ivm_data.experts.answers.store import AnswerStore
from ivm_data.experts.registry import EMBEDDED, ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.worlds.world import write_world
from storage.common.markdown import markdown_table
from storage.upkeep.digest import content_hash

NOISE = 0.02
"""Of the other LMM, in standard deviations of each tensor."""
HEADER = ["changed", "answers read", "asked for", "share asked", "CPU s", "CPU s from nothing", "share", "same labels"]


@dataclass(frozen=True)
class Run:
    """What a labeling run cost, and the hash of its labels."""

    read: int
    asked: int
    cpu_s: float
    content: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--only", nargs="*", help="changes by name; all without it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_world(folder / "world", "test", scenes=options.scenes, pairs_per_scene=3, human_share=0.2)
        rows = measured(manifest, folder, changes(other_lmm(folder / "lmm")), options.only or [])
    print(markdown_table(HEADER, rows))


def measured(manifest: Path, folder: Path, all_changes: dict[str, Recipe], only: list[str]) -> list[list[Any]]:
    base = recipe("demo")
    label(manifest, folder / "first", base, "none")  # The first run of a process pays for imports.
    plain, kept = (label(manifest, folder / name, base, answers) for name, answers in (("plain", "none"), ("kept", "")))
    registry.unload()
    store = AnswerStore(place(folder / "kept"))
    pairs = sum(1 for _ in manifest.open())
    print(f"{pairs} pairs, {store.size() / pairs:,.0f} bytes of answers a pair")
    rows = [row("nothing, for the first time", kept, plain)]
    for name, chosen in all_changes.items():
        if only and name not in only:
            continue
        data = folder / "changed"
        shutil.copytree(folder / "kept", data)
        rows.append(row(name, label(manifest, data, chosen, ""), label(manifest, folder / "nothing", chosen, "none")))
        print(rows[-1], flush=True)
        for used in (data, folder / "nothing"):
            shutil.rmtree(used)
    return rows


def label(manifest: Path, data: Path, chosen: Recipe, answers: str) -> Run:
    registry.unload()
    began = time.process_time()
    run = prepare(manifest, data, chosen, 64, answers=place(data, answers))
    summaries = label_manifest(run)
    seconds = time.process_time() - began
    read, asked = (sum(getattr(one, name) for one in summaries) for name in ("answers_read", "answers_asked"))
    return Run(read, asked, seconds, content_hash(data, run.recipe_hash))


def row(name: str, run: Run, plain: Run) -> list[Any]:
    return [
        name,
        f"{run.read:,}",
        f"{run.asked:,}",
        f"{run.asked / max(1, run.read + run.asked):.0%}",
        f"{run.cpu_s:.1f}",
        f"{plain.cpu_s:.1f}",
        f"{run.cpu_s / plain.cpu_s:.0%}",
        "yes" if run.content == plain.content else "NO",
    ]


def changes(lmm: ExpertSpec) -> dict[str, Recipe]:
    base = recipe("demo")
    (everything,) = base.proposers
    (grounder,) = base.grounders
    by_option: dict[str, dict[str, Any]] = {
        "gate: `gate.accept=0.9`": {"gate.accept": 0.9},
        "calibration: none": {"calibration": ""},
        "votes: `fuse.threshold=0.4`": {"fuse.threshold": 0.4},
        "what the verifier sees: `verify.dim=0.9`": {"verify.dim": 0.9},
        "choice: `resolve.absent_below=0.3`": {"resolve.absent_below": 0.3},
    }
    by_expert: dict[str, Callable[[], Recipe]] = {
        "another verifier": lambda: replace(base, verifier=lmm),
        "one proposer more": lambda: replace(base, proposers=(everything, with_options(everything, grid=6))),
        "no proposer": lambda: replace(base, proposers=()),
        "another segmenter": lambda: replace(base, segmenter=with_options(base.segmenter, stability_offset=0.5)),
        "another grounder": lambda: replace(base, grounders=(with_options(grounder, box_threshold=0.4),)),
        "one grounder more": lambda: replace(base, grounders=(grounder, with_options(grounder, box_threshold=0.2))),
        "another rewriter": lambda: replace(base, rewriter=lmm),
    }
    return {name: recipe("demo", given) for name, given in by_option.items()} | {
        name: make() for name, make in by_expert.items()
    }


def with_options(spec: ExpertSpec, **options: Any) -> ExpertSpec:
    return replace(spec, options={**spec.options, **options})


def other_lmm(folder: Path) -> ExpertSpec:
    shutil.copytree(EMBEDDED / "lmm", folder)
    rng = torch.Generator().manual_seed(0)
    for path in folder.glob("*.safetensors"):
        tensors = {
            name: one + NOISE * one.float().std() * torch.randn(one.shape, generator=rng).to(one.dtype)
            if one.dtype.is_floating_point
            else one
            for name, one in load_file(path).items()
        }
        save_file({name: one.contiguous() for name, one in tensors.items()}, path, {"format": "pt"})
    return ExpertSpec("hf-lmm", {"path": str(folder)})


if __name__ == "__main__":
    main()
