"""What a GPU gives, in less than four minutes and one file: `python -m benchmarks.gpu --out gpu.json`.

On a GPU: experts at full size with random weights, so that nothing is downloaded, against a plain loop; batch sizes
that fit and pay; memory beside what `ivm doctor` expects; what becomes of a batch that is too large; stages of one
part; training steps of both full-size recipes in bfloat16, the paper's against a plain loop (`--only training` does
these alone, in two minutes). Without a GPU, or with `--tiny`, small models take their places, to see that the script
runs. Each section that ends is written at once; one that fails or has no time left is named. `--show` prints the tables
of a file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.experts import SAME, cost, differences, machine, photographs, too_large
from benchmarks.gpu_cases import GpuCase, Size, cases
from benchmarks.gpu_stages import stages
from benchmarks.gpu_training import modern, paper
from ivm_data.experts.registry import get, unload
from ivm_data.recipes.doctor import AUTOCAST
from ivm_data.recipes.weight_files import BYTES, files_of, loaded_bytes
from ivm_model.model.placement import device_of, dtype_of
from storage.common.markdown import markdown_table

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SLOW_S = 4.0
"""No larger batch is tried after one that takes longer."""
ROOM = 2 << 30
"""Bytes beyond the weights that an expert is left with when its batch is made too large on purpose."""
TABLES = {
    "experts": "Experts against a plain loop, one image and one prompt a call; four questions an image",
    "batches": "Images that pass through a model together",
    "memory": "Memory of an expert's weights",
    "halved": "A batch that does not fit",
    "stages": "Stages of one part",
    "training": "Training steps: ours, and a plain loop of the libraries' own calls",
}
Rows = dict[str, list[dict[str, Any]]]
Section = tuple[str, float, Callable[[], Rows]]


def main() -> None:
    options = _options()
    if options.show:
        print(markdown(json.loads(options.show.read_text(encoding="utf-8"))))
        return
    began, page = time.perf_counter(), Path(options.out)
    torch.set_num_threads(options.threads)
    facts: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]]), "machine": machine(options),
        "size": options.size, "tables": {name: [] for name in TABLES}, "seconds": {}, "failed": {}, "skipped": [],
    }  # fmt: skip
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        for name, needs_s, work in sections(options, Path(folder)):
            if not any(only in name for only in options.only):
                continue
            left = options.seconds - (time.perf_counter() - began)
            if options.size == "full" and left < needs_s:
                facts["skipped"].append(f"{name}: {left:.0f} s are left, it may take {needs_s:.0f}")
            else:
                attempt(facts, name, work)
            page.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(markdown(facts))
    if facts["failed"]:
        raise SystemExit("failed: " + "; ".join(facts["failed"]))


def sections(options: argparse.Namespace, work: Path) -> list[Section]:
    """Name, seconds that it may take on a GPU, work; those that need least come first, training before the large LMM's.

    Args:
        work: where checkpoints are written once, for all sections.
    """
    found = cases(options.size, options.device)
    count = options.images

    def of(name: str) -> Section:
        seconds = 60.0 if "7B" in name else 15.0
        return name, seconds, lambda: expert(name, found[name], work, options.device, count)

    *small, lmm = found
    sam = next(name for name in reversed(small) if name.startswith("SAM"))

    def at(name: str) -> Path:
        return found[name].at(name, work)

    return [
        *map(of, small),
        ("stages", 25.0, lambda: {"stages": stages(at(sam), at("CLIPSeg"), options.device, options.pairs)}),
        ("training, modern", 35.0, lambda: {"training": modern(work, options.size, options.device)}),
        ("training, paper", 75.0, lambda: {"training": paper(at(sam), at(lmm), work, options.size)}),
        of(lmm),
    ]


def attempt(facts: dict[str, Any], name: str, work: Callable[[], Rows]) -> None:
    """Add the rows of a section, or why there are none; what it held is given back."""
    start = time.perf_counter()
    try:
        for table, rows in work().items():
            facts["tables"][table] += rows
    except Exception as error:  # A section that fails must not take the others along.
        traceback.print_exc()
        facts["failed"][name] = f"{type(error).__name__}: {error}"
    unload()
    gc.collect()
    facts["seconds"][name] = round(time.perf_counter() - start, 1)
    print(f"{name}: {facts['seconds'][name]} s", file=sys.stderr)


def expert(name: str, case: GpuCase, work: Path, device: str, images: int) -> Rows:
    """All that is measured of one expert."""
    if "7B" in name and (why := too_large(device)):
        raise MemoryError(why)
    folder = case.at(name, work)
    compared = compare(name, case, folder, device, images)
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    dtype = dtype_of("auto", device)
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    loaded = get(case.spec(folder, device))
    held = (torch.cuda.memory_allocated() - before) / 1e9 if device == "cuda" else None
    bytes_each = 4 if case.expert in AUTOCAST else BYTES[dtype]
    expected = sum(loaded_bytes(file, bytes_each) for file in files_of(folder)) / 1e9
    return {
        "experts": compared,
        "memory": [{"expert": name, "dtype": dtype, "doctor expects GB": expected, "held GB": held}],
        "batches": batches(name, case, loaded, device),
        "halved": halved(name, case, loaded) if device == "cuda" else [],
    }


def compare(name: str, case: GpuCase, folder: Path, device: str, images: int) -> list[dict[str, Any]]:
    """A row for each variant; its first pass warms it up, its second counts."""
    torch.manual_seed(0)
    variants = case.variants(folder, device, photographs(images))
    rows: list[dict[str, Any]] = []
    expected = None
    for label, run in variants.items():
        run()
        answers, (wall, _, peak) = cost(run, device)
        expected = expected or answers
        scores, pixels = differences(expected, answers)
        most = SAME["bfloat16" if "bfloat16" in label else "float32"]
        rows.append({
            "expert": name, "variant": label, "s an image": wall / images,
            "ratio": rows[0]["s an image"] / (wall / images) if rows else 1.0, "GB beyond weights": peak,
            "scores differ": scores, "pixels differ": pixels,
            "same": "yes" if scores <= most[0] and pixels <= most[1] else "no",
        })  # fmt: skip
    return rows


def batches(name: str, case: GpuCase, loaded: Any, device: str) -> list[dict[str, Any]]:
    """Seconds and memory of an image at each size, up to the one that does not fit or takes too long."""
    rows: list[dict[str, Any]] = []
    batch = case.batches_of(loaded)
    before = batch.size
    for size in BATCHES if device == "cuda" else BATCHES[:2]:
        images = photographs(size)
        batch.size = size
        case.ask(loaded, [image.copy() for image in images])
        _, (wall, _, peak) = cost(lambda images=images: list(case.ask(loaded, images)), device)
        fits = batch.size == size
        rows.append({
            "expert": name, "images": size, "s an image": wall / size, "GB beyond weights": peak,
            "fits": "yes" if fits else f"no, {batch.size} do",
        })  # fmt: skip
        if not fits or wall > SLOW_S:
            break
    batch.size = before
    best = min(rows, key=lambda row: row["s an image"])
    return [row | {"fastest": "yes" if row is best else ""} for row in rows]


def halved(name: str, case: GpuCase, loaded: Any) -> list[dict[str, Any]]:
    """An expert with little room is asked for more than fits: it halves its batch and answers all the same."""
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_allocated() + ROOM) / torch.cuda.get_device_properties(0).total_memory
    batch, asked = case.batches_of(loaded), BATCHES[-1]
    before, batch.size = batch.size, asked
    torch.cuda.set_per_process_memory_fraction(min(share, 1.0))
    try:
        answers = case.ask(loaded, photographs(asked))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        found, batch.size = batch.size, before
        torch.cuda.empty_cache()
    return [{"expert": name, "asked for": asked, "room GB": ROOM / 1e9, "found": found, "answers": len(answers)}]


def markdown(facts: dict[str, Any]) -> str:
    """The tables of a file of results."""
    lines = [f"{facts['machine']}, {facts['size']} size: `{facts['command']}`, {sum(facts['seconds'].values()):.0f} s"]
    for name, title in TABLES.items():
        if rows := facts["tables"][name]:
            lines += [f"{title}:", markdown_table(tuple(rows[0]), [tuple(row.values()) for row in rows])]
    lines += [f"Failed: {name}: {why}" for name, why in facts["failed"].items()]
    lines += [f"Skipped: {why}" for why in facts["skipped"]]
    return "\n\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="gpu.json", help="file of the results")
    parser.add_argument("--show", type=Path, help="print the tables of such a file, and measure nothing")
    parser.add_argument("--only", nargs="+", default=[""], help="words of the sections to run: training")
    parser.add_argument("--tiny", action="store_true", help="small models, as without a GPU")
    parser.add_argument("--seconds", type=float, default=225, help="no section begins that may not end within them")
    parser.add_argument("--work", type=Path, help="folder for checkpoints, 20 GB on a GPU; the system's own by default")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on the CPU")
    options = parser.parse_args()
    options.device = device_of("auto")
    size: Size = "tiny" if options.tiny or options.device == "cpu" else "full"
    options.size, options.images, options.pairs = size, *((8, 64) if size == "full" else (1, 4))
    return options


if __name__ == "__main__":
    main()
