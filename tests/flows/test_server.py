"""The product as an operator uses it: server, work pool, worker, deploy, deployment run, trigger."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ivm_data.labeling import prepare
from ivm_data.recipes import recipe

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
TRAINING = {"weighting": "uniform", "overrides": {"generator.steps": 2, "generator.batch": 2}}
"""Defaults of the training deployment in this test: as short as can be."""


class Operator:
    """One Prefect installation on a free port of this machine, with its own home."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.home = home
        self.environment = os.environ | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PWD": str(ROOT),
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> None:
        """Start a long-running command in a process group of its own."""
        with (self.home / f"{arguments[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [PREFECT, *arguments], cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self._running.append(process)

    def run(self, *arguments: str) -> str:
        """Run a command to its end, as without a terminal; returns what it printed."""
        done = subprocess.run(
            [PREFECT, *arguments], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def post(self, path: str, body: dict) -> list[dict]:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60).raise_for_status().json()

    def flow_runs(self, flow: str) -> list[dict]:
        return self.post("/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"})

    def wait_for(self, condition, what: str, limit_s: float = 240.0):
        """The first true answer of `condition`."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if answer := condition():
                return answer
            time.sleep(0.5)
        raise AssertionError(f"no {what} after {limit_s} s\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.home.glob("*.log")))

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End every process that was started here, and what those started."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    operator = Operator(tmp_path_factory.mktemp("prefect"))
    try:
        operator.start("server", "start", "--port", str(operator.port), "--no-ui")
        operator.wait_for(operator.is_up, "server")
        operator.run("work-pool", "create", "ivm", "--type", "process")
        operator.run("deploy", "--all")
        operator.start("worker", "start", "--pool", "ivm", "--name", "worker-of-the-test")
        yield operator
    finally:
        operator.stop()


def is_over(run: dict) -> bool:
    return run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_deployment_run_labels_and_its_event_starts_a_training(operator, manifest, tmp_path):
    deployments = {each["name"]: each for each in operator.post("/deployments/filter", {})}
    assert set(deployments) == {"label-batch", "train-dwsl", "label-and-train"}
    httpx.patch(
        f"{operator.url}/deployments/{deployments['train-dwsl']['id']}", json={"parameters": TRAINING}
    ).raise_for_status()

    data = tmp_path / "data"
    told = operator.run(
        *("deployment", "run", "label/label-batch", "--watch"),
        *("-p", f"manifest={manifest}", "-p", f"data={data}", "-p", "part_size=2"),
    )
    assert "Completed" in told
    assert prepare(manifest, data, recipe("demo"), part_size=2).open_parts() == []

    (training,) = operator.wait_for(lambda: [r for r in operator.flow_runs("train") if is_over(r)], "training")
    assert training["state_type"] == "COMPLETED", operator.logs()
    assert training["parameters"]["data"] == str(data)
    assert training["name"] == "uniform on data, seed 0"
    assert (data / "checkpoints" / "uniform-0" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_labeling_inside_label_and_train_starts_no_second_training(operator, manifest, tmp_path):
    before = len(operator.flow_runs("train"))
    data = tmp_path / "data"
    operator.run(
        *("deployment", "run", "label-and-train/label-and-train", "--watch"),
        *("-p", f"manifest={manifest}", "-p", f"data={data}", "-p", "weighting=uniform"),
        *("-p", 'train_overrides={"generator.steps": 2, "generator.batch": 2}'),
    )
    assert (data / "checkpoints" / "uniform-0" / "model.safetensors").is_file()
    time.sleep(5)  # A trigger fires within two seconds; there is nothing to wait for that does not come.
    assert len(operator.flow_runs("train")) == before + 1
