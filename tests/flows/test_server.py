"""The product as an operator uses it: `make up`, runs, the trigger, cancel, retry, suspend, resume, `make down`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import answers, end_dead_runs
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.data_set import DataSet
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
TRAINING = {"at_least": 1, "weighting": "uniform", "overrides": {"generator.steps": 2, "generator.batch": 2}}
"""Defaults of the deployment that decides on trainings: one new label is enough, and a training as short as can be."""

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


def part_names(data: Path) -> list[str]:
    return [part for _, part in DataSet.open(data).light_of]


class Operator:
    """Somebody with a clone of this repository, at a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.folder = folder
        for entry in ROOT.iterdir():
            if entry.name not in {".git", ".env", "build", "demo", "runs"}:
                (folder / entry.name).symlink_to(entry)
        drop = ("PREFECT_API_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
        self.environment = {name: value for name, value in os.environ.items() if name not in drop} | {
            "PREFECT_HOME": str(folder / ".prefect"),
            "PORT": str(self.port),
            "PWD": str(folder),
        }

    def says(self, *command: str | Path) -> str:
        """Run a command in the folder; returns what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def make(self, *options: str) -> str:
        """What `make up` and `make down` run."""
        return self.says(sys.executable, "-m", "flows.up", *options)

    def ask(self, method: str, path: str, body: object = None) -> list[dict] | dict:
        def answer() -> httpx.Response | None:
            try:
                response = httpx.request(method, f"{self.url}{path}", json=body, timeout=60)
            except httpx.ReadTimeout:
                return None
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        # As Prefect's own clients do, ask again where SQLite is busy: the server says so, or is silent.
        return self.wait_for(answer, f"answer to {path}").raise_for_status().json()

    def deployments(self) -> dict[str, dict]:
        return {each["name"]: each for each in self.ask("POST", "/deployments/filter", {})}

    def start(self, deployment: str, **parameters: object) -> str:
        """Start a run of a deployment; returns its id."""
        body = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        return self.ask("POST", f"/deployments/{self.deployments()[deployment]['id']}/create_flow_run", body)["id"]

    def run_state(self, run: str) -> dict:
        return self.ask("GET", f"/flow_runs/{run}")["state"]

    def ended(self, run: str) -> dict:
        """The state in which a run ends."""
        self.wait_for(lambda: self.run_state(run)["type"] in ENDED, f"end of run {run}")
        return self.run_state(run)

    def flow_runs(self, flow: str) -> list[dict]:
        return self.ask("POST", "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"})

    def wait_for(self, condition, what: str, limit_s: float = 240.0):
        """The first true answer of `condition`."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if answer := condition():
                return answer
            time.sleep(0.2)
        raise AssertionError(f"no {what} after {limit_s} s\n{self.logs()}")

    def logs(self) -> str:
        logs = sorted((self.folder / "runs" / "prefect").glob("*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in logs)


@pytest.fixture
def operator(tmp_path):
    operator = Operator(tmp_path)
    try:
        yield operator
    finally:
        operator.make("--down")


def test_labels_start_one_training_and_make_down_ends_everything(operator, manifest):
    operator.make()
    first = processes(operator)
    assert "server runs already" in operator.make()
    assert processes(operator) == first
    forms = {name: each["parameter_openapi_schema"]["properties"] for name, each in operator.deployments().items()}
    assert forms["label-batch"]["recipe"]["enum"] == ["demo", "card", "modern", "open", "small", "remote-lmm"]
    assert all(field.get("description") for form in forms.values() for field in form.values())
    gate = operator.deployments()["train-when-ready"]["id"]
    httpx.patch(f"{operator.url}/deployments/{gate}", json={"parameters": TRAINING}).raise_for_status()

    arguments = ("-p", f"manifest={manifest}", "-p", "recipe=demo")
    assert "Created flow run" in operator.says(PREFECT, "deployment", "run", "label/label-batch", *arguments)
    (labeling,) = operator.flow_runs("label")
    assert operator.ended(labeling["id"])["type"] == "COMPLETED"
    # The event asks for a training; the operator asks too, at the same moment.
    asked = operator.start("train-when-ready", data="runs/data")
    (training,) = operator.wait_for(lambda: [r for r in operator.flow_runs("train") if r["state_type"] in ENDED], "end")
    data = operator.folder / "runs" / "data"
    assert training["state_type"] == "COMPLETED", operator.logs()
    assert prepare(manifest, data, recipe("demo"), part_size=64).open_parts() == []
    assert (data / "checkpoints" / "uniform-0" / "model.safetensors").is_file()
    gates = [run["id"] for run in operator.flow_runs("train-when-ready") if not run["auto_scheduled"]]
    (triggered,) = set(gates) - {asked}
    assert {operator.ended(run)["name"] for run in (asked, triggered)} <= {"Started", "AlreadyTrained"}
    assert operator.ended(operator.start("train-when-ready", data="runs/data"))["name"] == "AlreadyTrained"
    more = operator.start("train-when-ready", data="runs/data", seed=1)
    assert operator.ended(more)["message"] == "not enough new labels: 0 of 1"
    assert len(operator.flow_runs("train")) == 1

    assert "stopped: worker, server" in operator.make("--down")
    assert not any(psutil.pid_exists(pid) for pid in first)
    assert not (operator.folder / ".env").exists()
    assert not answers(operator.url)


def test_runs_that_are_cancelled_suspended_or_started_twice_leave_the_same_labels(operator, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=20, pairs_per_scene=3, human_share=0.5)
    operator.make()
    options = {"manifest": str(manifest), "part_size": 1, "concurrency": 1}
    twins = [operator.start("label-batch", **options, data="runs/twice") for _ in range(2)]
    assert [operator.ended(run)["type"] for run in twins] == ["COMPLETED"] * 2
    twice, cut = operator.folder / "runs" / "twice", operator.folder / "runs" / "cut"

    run = operator.start("label-batch", **options, data="runs/cut")
    operator.wait_for(lambda: (cut / "labels").exists() and part_names(cut), "part")
    operator.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert operator.ended(run)["type"] == "CANCELLED"
    assert verify(cut) == ()
    left = set(part_names(twice)) - set(part_names(cut))
    assert 0 < len(left) < 60
    operator.says(PREFECT, "flow-run", "retry", run)
    operator.wait_for(lambda: operator.run_state(run)["type"] != "CANCELLED", "retry")
    assert operator.ended(run)["type"] == "COMPLETED"
    assert content_hash(cut) == content_hash(twice)
    assert len(part_names(cut)) == 60

    night = operator.folder / "runs" / "night"
    run = operator.start("label-batch", **options, data="runs/night")
    operator.wait_for(lambda: (night / "labels").exists() and part_names(night), "part")
    suspend(operator, run)
    before = len(part_names(night))
    time.sleep(10)
    assert len(part_names(night)) <= before + 5
    assert operator.run_state(run)["name"] == "Suspended"
    operator.ask("POST", f"/flow_runs/{run}/resume", {})
    assert operator.ended(run)["type"] == "COMPLETED"
    assert content_hash(night) == content_hash(twice)


def test_a_run_that_falls_silent_has_crashed_and_one_that_is_suspended_has_not(operator):
    operator.make()
    silence_limit(operator, 10)
    silent, suspended = (run_with_one_sign_of_life(operator) for _ in range(2))
    suspend(operator, suspended)
    operator.wait_for(lambda: operator.run_state(silent)["type"] == "CRASHED", "crash", limit_s=60)
    assert operator.run_state(silent)["message"].startswith("no sign of life for 10 s")
    time.sleep(5)
    assert operator.run_state(suspended)["name"] == "Suspended"


def suspend(operator, run):
    """What the button "Suspend" does."""
    details = {"pause_timeout": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), "pause_reschedule": True}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    assert operator.ask("POST", f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"


def silence_limit(operator, seconds):
    """Set how long the server waits for a sign of life."""
    for automation in operator.ask("POST", "/automations/filter", {}):
        if automation["name"].startswith("end runs"):
            httpx.delete(f"{operator.url}/automations/{automation['id']}").raise_for_status()
    with temporary_settings({PREFECT_API_URL: operator.url}):
        end_dead_runs(seconds)


def run_with_one_sign_of_life(operator) -> str:
    """A run that nobody runs."""
    deployment = operator.deployments()["label-batch"]
    body = {"flow_id": deployment["flow_id"], "deployment_id": deployment["id"], "state": {"type": "RUNNING"}}
    run = operator.ask("POST", "/flow_runs/", body)["id"]
    heartbeat = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    httpx.post(f"{operator.url}/events", json=[heartbeat], timeout=60).raise_for_status()
    return run


def test_one_terminal_serves_everything_until_ctrl_c(operator, manifest):
    log = (operator.folder / "serve.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-m", "flows.serve"], cwd=operator.folder, env=operator.environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            operator.wait_for(lambda: answers(operator.url) and len(operator.deployments()) >= 7, "deployments")
            inbox = operator.folder / "runs" / "inbox"
            inbox.mkdir(parents=True)
            (inbox / "torn.jsonl").write_text("")
            shutil.copytree(manifest.parent, inbox / "world")
            looks = [operator.start("label-inbox", inbox="runs/inbox", data="runs/data", quiet_s=0) for _ in range(2)]
            assert [operator.ended(look)["type"] for look in looks] == ["COMPLETED"] * 2
            torn, whole = sorted(operator.flow_runs("label"), key=lambda run: run["parameters"]["manifest"])
            assert "has no records" in operator.ended(torn["id"])["message"]
            assert operator.ended(whole["id"])["type"] == "COMPLETED"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert not answers(operator.url)


def processes(operator) -> list[int]:
    """The pids that `make up` wrote down."""
    files = sorted((operator.folder / "runs" / "prefect").glob("*.json"))
    return [int(path.read_text().split(":")[1].split(",")[0]) for path in files]
