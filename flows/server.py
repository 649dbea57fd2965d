"""A Prefect server on this machine: started in the background, waited for, and given what the flows rely on."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from prefect.automations import AutomationCore, EventTrigger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.limits import LMM, gpus
from flows.processes import Background
from storage.errors import ConfigError, IvmError

POOL = "ivm"
DEFINITIONS = Path(__file__).with_name("prefect.yaml")
"""The deployments."""
SETTINGS = Path(__file__).with_name("prefect.toml")
"""What Prefect reads by itself in a checkout; elsewhere `Server.environment` hands it on."""
PREFECT = str(Path(sys.executable).with_name("prefect"))
READY_S = 180.0
"""Seconds that a server has to answer; a busy machine needs more than the usual ten."""
MISSED_HEARTBEATS_S = 100
"""Seconds without a sign of life after which a run counts as crashed: three of prefect.toml's heartbeats, and some."""
SILENT_STATES = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
"""States after which no sign of life is expected: of runs that have ended, and of those that wait to be resumed."""
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


class Server:
    """The server of one folder.

    Attributes:
        url: of its API.
        ui: of its pages.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.ui = f"http://127.0.0.1:{port}"
        self.url = f"{self.ui}/api"
        self.process = Background(folder, "server")
        self._folder, self._port = folder, port

    def environment(self) -> dict[str, str]:
        """Environment of the server and of everything that talks to it.

        The pages ask the API at the address that is set when the server starts. A database that is set already, such
        as PostgreSQL, is left alone.
        """
        own = {
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_UI_API_URL": self.url,
            "PWD": str(Path.cwd()),
            _DATABASE: os.environ.get(_DATABASE) or f"sqlite+aiosqlite:///{(self._folder / 'prefect.db').resolve()}",
        }
        settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
        return {**dict(variables(settings)), **os.environ, **own}

    def start(self) -> bool:
        """Start the server and wait until it answers; False where it runs already.

        Raises:
            ConfigError: the port is taken, or the server runs on another one.
            IvmError: the server ended, or does not answer in time.
        """
        running = self.process.find()
        if running is not None and str(self._port) not in running.cmdline():
            raise ConfigError(
                f"a server started from here runs already, on another port than {self._port}; 'make down'"
            )
        if running is None:
            _check_port(self._port)
            command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
            self.process.start(command, self.environment())
        self._wait()
        return running is None

    def provide(self, gpu_slots: int, lmm_slots: int) -> None:
        """Work pool, limits and the automation that ends dead runs; what is there already is left as it is."""
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            known = {limit.name for limit in client.read_global_concurrency_limits(limit=200)}
            for name, slots in (*((name, gpu_slots) for name in gpus()), (LMM, lmm_slots)):
                if name not in known:
                    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
            end_dead_runs(MISSED_HEARTBEATS_S)

    def _wait(self) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            if self.process.find() is None:
                raise IvmError(f"the server ended at its start; {self.process.log} says:\n{self.process.last_words()}")
            if answers(self.url):
                return
            time.sleep(0.3)
        raise IvmError(f"the server does not answer at {self.url} after {READY_S:.0f} s; see {self.process.log}")


def variables(settings: Mapping[str, Any], prefix: str = "PREFECT") -> Iterator[tuple[str, str]]:
    """Settings of a prefect.toml as environment variables: `[worker] query_seconds` is PREFECT_WORKER_QUERY_SECONDS."""
    for key, value in settings.items():
        name = f"{prefix}_{key.upper()}"
        if is_section(value):
            yield from variables(value, name)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)


def is_section(value: Any) -> bool:
    """Whether a value of a prefect.toml holds settings; one whose keys are no names, such as events, is a setting."""
    return isinstance(value, Mapping) and all(key.isidentifier() for key in value)


def answers(url: str) -> bool:
    """Whether a Prefect API answers at this address."""
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def end_dead_runs(within_s: int) -> None:
    """Have the server end every run that has been silent for so long: its process was killed with its worker."""
    name = "end runs that give no sign of life"
    ends = {f"prefect.flow-run.{state}" for state in SILENT_STATES}
    heartbeat = "prefect.flow-run.heartbeat"
    wanted = AutomationCore(
        name=name,
        trigger=EventTrigger(
            after={heartbeat},
            expect={heartbeat, *ends},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_s),
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message=f"no sign of life for {within_s} s; retry the run, committed parts are skipped",
            )
        ],
    )
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(name):
            client.create_automation(wanted)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that can start a server."""
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "4200")), help="of server and pages")
    parser.add_argument("--folder", type=Path, default=Path("runs/prefect"), help="logs, pids and the SQLite database")
    parser.add_argument("--gpu-slots", type=int, default=1, help="parts on this machine's GPU at the same time")
    parser.add_argument("--lmm-slots", type=int, default=4, help="parts that ask an LMM endpoint at the same time")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"port {port} is taken by another program ({error.strerror}); "
                f"stop it, or choose another port: make up PORT={port + 1}"
            ) from error
