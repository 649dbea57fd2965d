"""The recipes of full-size models as they are launched: two processes, killed, resumed, then used.

The models are of the recipes' classes, small and with random weights.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from ivm_data.cli import app
from ivm_data.experts.proposers.ivm import Ivm, IvmConfig
from ivm_model.model.checkpoint import read_config
from storage.request import Request

ROOT = Path(__file__).parents[3]
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
SMALL = {
    "generator.steps": 10, "generator.batch": 8, "generator.ema": 0.9, "discriminator.steps": 2,
    "discriminator.batch": 8, "run.save_every": 1, "rows.test_share": 0.3, "feed.workers": 0,
}  # fmt: skip


@pytest.fixture(params=["paper", "modern"])
def command(request, data, bases, modern_bases, tmp_path) -> list[str]:
    """`ivm train` in two processes, without the folder of the checkpoint."""
    program = tmp_path / "ivm.py"
    program.write_text("from ivm_data.cli import main\n\nmain()\n")
    models = bases if request.param == "paper" else modern_bases
    given = SMALL | {"sam": models.sam, "lmm": models.lmm} | ({"inputs.grid": 2} if request.param == "modern" else {})
    changes = [f"--set={name}={value}" for name, value in given.items()]
    return [*LAUNCH, str(program), "train", "--data", str(data), "--recipe", request.param, *changes]


def launch(command: list[str], out: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "--out", str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command: list[str], out: Path) -> str:
    """What a training that ends well says."""
    launcher = launch(command, out)
    said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, said
    return said


def kill_after(command: list[str], out: Path, step: int) -> None:
    """Kill launcher and processes at once, as soon as the state of a step is there."""
    launcher = launch(command, out)
    deadline = time.monotonic() + 200
    while not any(int(path.name) >= step for path in (out / "state").glob("[0-9]*")):
        assert time.monotonic() < deadline and launcher.poll() is None, launcher.communicate()[0]
        time.sleep(0.005)
    # The launcher gives each process a session of its own.
    for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
        process.kill()
    launcher.communicate()
    assert launcher.returncode == -signal.SIGKILL and not (out / "config.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_steps_in_two_processes_survive_a_kill_and_give_a_model_that_works(command, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_after(command, killed, 3)
    finish(command, killed)
    finish(command, whole)
    first, second = (load_file(out / "model.safetensors") for out in (killed, whole))
    assert first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)
    facts = read_config(killed)["training"]
    assert np.isfinite([facts["loss"]["first"], facts["loss"]["last"]]).all()

    image_HWC = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    Image.fromarray(image_HWC).save(tmp_path / "photo.png")
    mask = ["mask", str(tmp_path / "photo.png"), "Find the red square .", "--model", str(killed)]
    result = CliRunner().invoke(app, [*mask, "-o", str(tmp_path / "masked.png")], catch_exceptions=False)
    assert result.exit_code == 0 and Image.open(tmp_path / "masked.png").size == (120, 90)
    asked = Ivm(IvmConfig(str(killed))).propose([image_HWC], [Request.of(("red square",))])
    assert asked[0][0].shape == (90, 120)
