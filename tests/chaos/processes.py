"""The processes that a storm breaks: labeling, the LMM server, a Prefect server with its worker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows.processes import Background

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_S = 300.0
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """The first true answer of `condition`."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"no {what} after {limit_s} s")


def kill_family(process: psutil.Process) -> None:
    """SIGKILL a process and everything that it started."""
    family = [process, *process.children(recursive=True)]
    for each in family:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, 10)


class LmmServer:
    """`lmm_server.py` at one port, however often it is killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(HERE / "lmm_server.py"), str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self._answers, "LMM server")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/models", timeout=5).is_success
        except httpx.TransportError:
            return False


class Labeler:
    """`labeler.py`: one labeling run at a time, each in a process of its own."""

    def __init__(self, manifest: Path, lmm_url: str, log: Path, engine: str = "") -> None:
        arguments = [str(manifest), lmm_url, *([engine] if engine else [])]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "labeler.py"), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("ab"), text=True,
        )  # fmt: skip
        if self._line() != "ready":
            raise AssertionError(f"the labeler did not start:\n{log.read_text()[-2000:]}")

    def start(self, data: Path) -> psutil.Process:
        self.process.stdin.write(f"{data}\n")
        self.process.stdin.flush()
        return psutil.Process(int(self._line()))

    def end(self) -> int:
        """Exit status of the run that was started last."""
        return int(self._line())

    def stop(self) -> None:
        kill_family(psutil.Process(self.process.pid))

    def _line(self) -> str:
        return self.process.stdout.readline().strip()


class PrefectWorld:
    """A Prefect server with a worker in a folder of its own, as `make up` starts them."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        folder.mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in {".git", ".env", "build", "demo", "runs"}:
                (folder / entry.name).symlink_to(entry)
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.pids = folder / "runs" / "prefect"
        own = {"PREFECT_HOME": str(folder / ".prefect"), "PORT": str(self.port), "PWD": str(folder)}
        drop = {"PREFECT_API_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"}
        self.environment = {name: value for name, value in os.environ.items() if name not in drop} | own

    def up(self) -> None:
        self._run()

    def down(self) -> None:
        self._run("--down")

    def find(self, name: str) -> psutil.Process | None:
        """The "server" or the "worker"."""
        return Background(self.pids, name).find()

    def runs(self) -> list[psutil.Process]:
        """The processes of flow runs."""
        worker = self.find("worker")
        return [] if worker is None else worker.children(recursive=True)

    def start(self, **parameters: object) -> str:
        (deployment,) = self._ask("POST", "/deployments/filter", {"deployments": {"name": {"any_": ["label-batch"]}}})
        wanted = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        return self._ask("POST", f"/deployments/{deployment['id']}/create_flow_run", wanted)["id"]

    def state(self, run: str) -> str:
        return self._ask("GET", f"/flow_runs/{run}")["state"]["type"]

    def wait(self, run: str) -> str:
        """The state in which a run ends."""
        wait_for(lambda: self.state(run) in ENDED, f"end of run {run}")
        return self.state(run)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """As Prefect's clients do, ask again where SQLite is busy: the server says so, or is silent."""

        def answer() -> httpx.Response | None:
            try:
                response = httpx.request(method, f"{self.url}{path}", json=body, timeout=60)
            except httpx.ReadTimeout:
                return None
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        return wait_for(answer, f"answer to {path}").raise_for_status().json()

    def _run(self, *options: str) -> None:
        command = [sys.executable, "-m", "flows.up", *options]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
