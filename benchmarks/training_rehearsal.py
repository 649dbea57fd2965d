"""A full-size recipe rehearsed on a CPU: full width, one layer, random weights, two processes, killed and gone on with.

    python -m benchmarks.training_rehearsal --recipe modern

Base models and eight labels are written, `ivm train` is launched with torchrun for ten steps, all of it is killed once
the state of the third step is there, the same command goes on, and the checkpoint masks a picture. No stage I: the
weighting is uniform. Some minutes, and 3 GB of disk and 6 GB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.shallow import shallow
from benchmarks.training_memory import write_rows
from ivm_model.model.checkpoint import read_config
from ivm_model.predictor import Predictor
from storage.common.markdown import markdown_table

STEPS, KILLED = 10, 3
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
PROGRAM = "from ivm_data.cli import main\n\nmain()\n"


def command(recipe: str, work: Path, changes: dict[str, str]) -> list[str]:
    """`ivm train` in two processes."""
    (work / "ivm.py").write_text(PROGRAM, encoding="utf-8")
    steps = {"generator.steps": STEPS, "generator.batch": 1, "weighting": "uniform", "run.save_every": 1}
    given = [f"--set={name}={value}" for name, value in {**changes, **steps, "rows.test_share": 0}.items()]
    folders = ["--data", str(work / "data"), "--out", str(work / "model")]
    return [*LAUNCH, str(work / "ivm.py"), "train", *folders, "--recipe", recipe, *given]


def kill_after(launcher: subprocess.Popen[str], model: Path, step: int) -> int:
    """Kill launcher and processes as soon as the state of a step is there; gives the last such step."""
    while not (done := [int(path.name) for path in (model / "state").glob("[0-9]*")]) or max(done) < step:
        if launcher.poll() is not None:
            raise RuntimeError("the training ended before it could be killed")
        time.sleep(0.05)
    for process in [*psutil.Process(launcher.pid).children(recursive=True), psutil.Process(launcher.pid)]:
        process.kill()
    launcher.wait()
    return max(int(path.name) for path in (model / "state").glob("[0-9]*"))


def rehearse(recipe: str, work: Path) -> dict[str, object]:
    """Everything once; a row of the table."""
    write_rows(work / "data", 8)
    line, model = command(recipe, work, shallow(recipe, 1).save(work)), work / "model"  # type: ignore[arg-type]
    killed = kill_after(subprocess.Popen(line, text=True), model, KILLED)
    began = time.perf_counter()
    subprocess.run(line, check=True)
    wall = time.perf_counter() - began
    facts = read_config(model)["training"]
    heat_HW = Predictor.from_pretrained(model).heatmap(np.full((480, 640, 3), 120, np.uint8), "Find thing 1.")
    return {
        "recipe": recipe, "trained": f"{facts['parameters']['trained']:,}",
        "frozen": f"{facts['parameters']['frozen']:,}", "killed after step": killed, "steps": STEPS,
        "s from there to the end": round(wall), "loss, first": facts["loss"]["first"], "last": facts["loss"]["last"],
        "checkpoint MB": round((model / "model.safetensors").stat().st_size / 1e6),
        "heatmap": f"{heat_HW.shape[0]} x {heat_HW.shape[1]}, {heat_HW.min():.2f} to {heat_HW.max():.2f}",
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=("paper", "modern"), required=True)
    parser.add_argument("--work", type=Path, help="folder for base models, 3 GB; the system's own by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        row = rehearse(options.recipe, Path(folder))
    print(markdown_table(tuple(row), [tuple(row.values())]))


if __name__ == "__main__":
    main()
