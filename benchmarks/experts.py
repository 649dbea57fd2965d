"""Experts at full size against a plain loop, and what the pipeline costs around them: `python -m benchmarks.experts`.

Architectures are those of the published configs, weights are random, nothing is downloaded. The plain loop is written
as the models' own pages show it: one image and one prompt a call. Variants take turns, round by round, on the same
weights, and must give the same answers. Each expert has a process of its own, and what it found is written to
benchmarks/results/experts.json at once: one that fails loses nothing but itself. Prints the tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import full_size, plain_loops
from benchmarks.overhead import overhead
from benchmarks.plain_loops import Answer, Variant
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parent / "results" / "experts.json"
SAME = {"float32": (1e-3, 0.01), "bfloat16": (0.05, 0.1)}
"""What still counts as the same answer: the most that scores in [0, 1] differ from the plain loop's in any round, and
the largest share of a mask's pixels. A variant beyond that keeps its row, and the run fails in the end."""
TIMEOUT = 120
"""Seconds after which an expert begins no further round."""


@dataclass(frozen=True)
class Case:
    """An expert to measure.

    Attributes:
        save: writes its checkpoint into a folder.
        variants: folder, device and images -> the plain loop and ours, by name; the plain one first.
    """

    save: Callable[[Path], None]
    variants: Callable[[Path, str, Sequence[np.ndarray]], dict[str, Variant]]


CASES = {
    "SAM ViT-B": Case(partial(full_size.save_sam, architecture="vit-b"), plain_loops.sam),
    "Grounding DINO Swin-T": Case(full_size.save_grounding_dino, plain_loops.grounding_dino),
    "CLIPSeg": Case(full_size.save_clipseg, plain_loops.clipseg),
    "SAM ViT-H": Case(partial(full_size.save_sam, architecture="vit-h"), plain_loops.sam),
    "LLaVA-1.5-7B": Case(full_size.save_llava, plain_loops.llava),
}


def main() -> None:
    options = _options()
    facts: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.experts", *sys.argv[1:]]),
        "machine": machine(options),
        "load": [os.getloadavg()[0]],
        "pipeline": [],
        "experts": [],
        "failed": [],
    }
    for segmenter, pairs, rounds in (
        ("embedded", options.pairs, options.rounds),
        ("SAM ViT-B", options.large_pairs, 1),
    ):
        name = f"pipeline with {segmenter} segmenter"
        attempt(facts, "pipeline", name, overhead, segmenter, pairs, rounds, options.threads)
    chosen = ["CLIPSeg", "SAM ViT-B", "Grounding DINO Swin-T"]
    chosen += ["SAM ViT-H"] * options.huge + ["LLaVA-1.5-7B"] * options.llava
    for name in chosen:
        if name == "LLaVA-1.5-7B" and (why := too_large(options.device)):
            print(why, file=sys.stderr)
        else:
            attempt(facts, "experts", name, measure, name, options)
    print(f"{facts['machine']}; load {', '.join(f'{load:.1f}' for load in facts['load'])}\n")
    for rows in (facts["experts"], facts["pipeline"]):
        if rows:
            print(markdown_table(tuple(rows[0]), [tuple(row.values()) for row in rows]), end="\n\n")
    wrong = [failure["what"] for failure in facts["failed"]]
    wrong += [f"{row['expert']}, {row['variant']}: other answers" for row in facts["experts"] if row["same"] == "no"]
    if wrong:
        raise SystemExit("failed: " + "; ".join(wrong))


def attempt(facts: dict[str, Any], table: str, what: str, work: Callable[..., list[Any]], *args: Any) -> None:
    """Add the rows of some work to a table of the facts, or why there are none, and write all facts down."""
    start = time.perf_counter()
    try:
        facts[table] += alone(work, *args)
    except Exception as error:  # An expert that fails, or that the system kills, must not take the others along.
        traceback.print_exc()
        facts["failed"].append({"what": what, "why": f"{type(error).__name__}: {error}"})
    facts["load"].append(os.getloadavg()[0])
    print(f"{what}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def alone(work: Callable[..., list[Any]], *args: Any) -> list[Any]:
    """In a process of its own, which gives its memory back.

    Raises:
        BrokenProcessPool: it was killed, as for want of memory; `multiprocessing.Pool` would wait for ever.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each variant of an expert."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = photographs(options.images)
    with tempfile.TemporaryDirectory() as folder:
        CASES[name].save(Path(folder))
        variants = CASES[name].variants(Path(folder), options.device, images)
    expected: list[Answer] = []
    found: dict[str, tuple[float, float]] = {}
    taken: dict[str, list[tuple[float, float, float]]] = {label: [] for label in variants}
    start = time.perf_counter()
    rounds = 0
    while rounds < options.rounds and (not rounds or time.perf_counter() - start < TIMEOUT):
        rounds += 1
        for label, run in variants.items():
            answers, spent = cost(run, options.device)
            taken[label].append(spent)
            expected = expected or answers
            worst = found.get(label, (0.0, 0.0))
            scores, pixels = differences(expected, answers)
            found[label] = max(worst[0], scores), max(worst[1], pixels)
    plain = [median(column) for column in zip(*next(iter(taken.values())), strict=True)]
    rows = []
    for label, runs in taken.items():
        wall, cpu, peak = (median(column) for column in zip(*runs, strict=True))
        most = SAME["bfloat16" if "bfloat16" in label else "float32"]
        same = all(found_most <= allowed for found_most, allowed in zip(found[label], most, strict=True))
        rows.append(
            {
                "expert": name, "variant": label, "s an image": wall / len(images), "ratio": plain[0] / wall,
                "CPU s an image": cpu / len(images), "CPU ratio": plain[1] / cpu, "GB beyond weights": peak,
                "scores differ": found[label][0], "pixels differ": found[label][1], "same": "yes" if same else "no",
                "rounds": rounds,
            }
        )  # fmt: skip
    return rows


def cost(run: Variant, device: str) -> tuple[list[Answer], tuple[float, float, float]]:
    """Answers; wall-clock seconds, CPU seconds of all threads, and gigabytes at the peak beyond those held before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        held = _field("/proc/self/status", "VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    answers = run()
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _field("/proc/self/status", "VmHWM")
    return answers, (wall, cpu, max(0, peak - held) / 1e9)


def _field(file: str, name: str) -> int:
    """Bytes that the kernel states there in kB."""
    lines = Path(file).read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def differences(expected: Sequence[Answer], found: Sequence[Answer]) -> tuple[float, float]:
    """Most that scores differ, and the largest share of a mask's pixels that do."""
    pairs = list(zip(expected, found, strict=True))
    scores = max(float(np.abs(a.scores - b.scores).max()) for a, b in pairs)
    return scores, max(float((a.mask_HW != b.mask_HW).mean()) for a, b in pairs)


def photographs(count: int) -> list[np.ndarray]:
    """Smooth noise of 640 x 480 pixels, as many colours and edges as a photograph has."""
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 255, (15, 20, 3), np.uint8)) for _ in range(count)]
    return [np.asarray(image.resize((640, 480), Image.Resampling.BICUBIC)) for image in coarse]


def too_large(device: str) -> str | None:
    """Why LLaVA-1.5-7B cannot run here, if so."""
    needed = 1.3 * full_size.llava_gigabytes()
    free = (torch.cuda.mem_get_info()[0] if device == "cuda" else _field("/proc/meminfo", "MemAvailable")) / 1e9
    return None if free > needed else f"LLaVA-1.5-7B skipped: needs {needed:.0f} GB, {free:.0f} GB are free"


def machine(options: argparse.Namespace) -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind = names[0].split(":")[1].strip() if names else platform.machine()
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU"
    return f"{kind}, {options.threads} of {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--images", type=int, default=None, help="1 on a CPU, 8 on a GPU; four instructions each")
    parser.add_argument("--rounds", type=int, default=3, help=f"at most; none begins after {TIMEOUT} s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on the CPU")
    parser.add_argument("--pairs", type=int, default=48, help="of the procedural world, for the pipeline's overhead")
    parser.add_argument("--large-pairs", type=int, default=12, help="the same, beside SAM ViT-B")
    parser.add_argument("--huge", action="store_true", help="SAM ViT-H too")
    parser.add_argument("--llava", action="store_true", help="LLaVA-1.5-7B too, where the memory allows")
    options = parser.parse_args()
    options.images = options.images or (8 if options.device == "cuda" else 1)
    return options


if __name__ == "__main__":
    main()
