"""`python -m flows.serve`: server and all deployments in one terminal, without a work pool; Ctrl-C ends both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Interval
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows.processes import Background
from flows.server import DEFINITIONS, Server, add_options, answers
from flows.up import point_here, point_nowhere
from storage.errors import ConfigError, IvmError


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    try:
        if Background(options.folder, "worker").find():
            raise ConfigError("a worker started by 'make up' serves these deployments already; 'make down' ends it")
        with _server(Server(options.folder, options.port), options.gpu_slots, options.lmm_slots):
            serve(*deployments())
    except IvmError as error:
        sys.exit(f"error: {error}")


@contextmanager
def _server(server: Server, gpu_slots: int, lmm_slots: int) -> Iterator[None]:
    """The server that Prefect is set to use here, or one of our own for as long as this lasts."""
    url = get_current_settings().api.url
    if url and answers(url):
        print(f"serving at {url}")
        yield
        return
    try:
        server.start()
        server.provide(gpu_slots, lmm_slots)
        point_here(server.url)
        print(f"watch it at {server.ui}, stop it with Ctrl-C")
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield
    finally:
        point_nowhere()
        server.process.stop()


def deployments(definitions: Path = DEFINITIONS) -> Iterator[RunnerDeployment]:
    """What prefect.yaml deploys: the same names, parameters, triggers and schedules, without the work pool."""
    for each in yaml.safe_load(definitions.read_text())["deployments"]:
        yield _deployment(each)


def _deployment(given: dict[str, Any]) -> RunnerDeployment:
    made = load_flow_from_entrypoint(given["entrypoint"]).to_deployment(
        given["name"],
        entrypoint_type=EntrypointType.MODULE_PATH,
        parameters=given.get("parameters"),
        triggers=[DeploymentEventTrigger.model_validate(trigger) for trigger in given.get("triggers", ())],
        schedules=[Interval(schedule["interval"], slug=schedule["slug"]) for schedule in given.get("schedules", ())],
    )
    return cast("RunnerDeployment", made)


if __name__ == "__main__":
    main()
