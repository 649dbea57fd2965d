"""Episodes labeled with tracks, killed with SIGKILL at random moments and resumed: the same rows; memory by length.

    python -m benchmarks.episodes_killed --episodes 50 --frames 100 --kills 4

A world in motion is labeled twice by the recipe `demo` with few key frames (`--every`), a part an episode: once
undisturbed, and once by processes that are killed. Printed are the hashes of both data sets, and how far each killed
process came. Then one episode of each of `--lengths` frames is labeled by a process of its own, for its peak memory.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ivm_data.worlds.motion_set import write_motion
from storage.data_set import DataSet
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

LABEL = """
import resource, sys
from pathlib import Path
import torch
from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe, with_tracker
torch.set_num_threads(1)
changes = {"track.every": int(sys.argv[3]), "track.budget": 0.0}
run = prepare(Path(sys.argv[1]), Path(sys.argv[2]), with_tracker(recipe("demo", changes), "flow"), part_size=1)
print(len(run.open_parts()), flush=True)
for part in run.open_parts():
    label_part(run, part)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""
"""A process that labels what is open; it says how many parts that are, and its peak memory in KiB after each."""


def labeling(manifest: Path, data: Path, every: int) -> subprocess.Popen[str]:
    """The process."""
    command = [sys.executable, "-c", LABEL, str(manifest), str(data), str(every)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def labeled(manifest: Path, data: Path, every: int) -> list[int]:
    """Label all that is open; the peak memory in KiB after each part.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    with labeling(manifest, data, every) as process:
        said = process.communicate()[0].split()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return [int(peak) for peak in said[1:]]


def killed(manifest: Path, data: Path, every: int, seconds: float) -> None:
    """Label, and kill the process so many seconds after its experts are loaded; what is there then is whole.

    Raises:
        RuntimeError: a file is damaged.
    """
    with labeling(manifest, data, every) as process:
        assert process.stdout is not None
        waiting = process.stdout.readline().strip()
        time.sleep(seconds)
        process.kill()
        process.wait()
    if problems := verify(data):
        raise RuntimeError(f"after SIGKILL: {problems}")
    with DataSet.open(data) as opened:
        print(
            f"killed after {seconds:.1f} s: of {waiting} open parts {len(opened.light_of)} are there in all", flush=True
        )


def memory(folder: Path, lengths: Sequence[int], every: int) -> None:
    """Print the peak memory of labeling one episode of each length."""
    print("| frames of an episode | peak memory, MiB |\n|---|---|")
    for frames in lengths:
        manifest = write_motion(folder / f"long-{frames}", "val", 1, frames, 0.0)
        (peak,) = labeled(manifest, folder / f"data-{frames}", every)
        print(f"| {frames} | {peak / 1024:.0f} |", flush=True)


def main() -> None:
    """Print what is found; the exit status says whether the rows are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--lengths", type=int, nargs="*", default=[50, 200, 800])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, rng = Path(folder), random.Random(0)
        manifest = write_motion(root / "world", "test", given.episodes, given.frames, 0.0)
        began = time.perf_counter()
        peaks = labeled(manifest, root / "whole", given.every)
        seconds = time.perf_counter() - began
        print(f"{given.episodes} episodes of {given.frames} frames: {seconds:.0f} s, peak memory after the 2nd part")
        print(f"{peaks[min(1, len(peaks) - 1)] / 1024:.0f} MiB, after the last {peaks[-1] / 1024:.0f} MiB", flush=True)
        for _ in range(given.kills):
            killed(manifest, root / "killed", given.every, rng.uniform(0.05, 0.9) * seconds / (given.kills + 1))
        labeled(manifest, root / "killed", given.every)
        whole, resumed = content_hash(root / "whole"), content_hash(root / "killed")
        print(f"rows undisturbed {whole}, killed {given.kills} times {resumed}", flush=True)
        memory(root, given.lengths, given.every)
    sys.exit(0 if whole == resumed else "the rows are not the same")


if __name__ == "__main__":
    main()
