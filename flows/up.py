"""`make up`: server, work pool, worker and deployments, in the background; `make down` ends exactly those."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from flows.processes import Background
from flows.server import DEFINITIONS, POOL, PREFECT, Server, add_options
from storage.disk.publish import write_text
from storage.errors import IvmError

ENV = Path(".env")
"""Prefect reads it in the folder that a command is started in; nobody's profile is touched."""
_ADDRESS = "PREFECT_API_URL="


def main() -> None:
    """Start or stop, and say what to do next."""
    options = _options()
    try:
        if options.down:
            down(options.folder)
        else:
            up(options.folder, options.port, options.gpu_slots, options.lmm_slots)
    except IvmError as error:
        sys.exit(f"error: {error}")


def up(folder: Path, port: int, gpu_slots: int = 1, lmm_slots: int = 4) -> None:
    """Start what is not running yet, and deploy."""
    server = Server(folder, port)
    print(f"server {'started' if server.start() else 'runs already'}: {server.ui}")
    server.provide(gpu_slots, lmm_slots)
    point_here(server.url)
    deploy(server)
    worker = Background(folder, "worker")
    if worker.find() is None:
        worker.start([PREFECT, "worker", "start", "--pool", POOL], server.environment())
        print(f"worker started; its log is {worker.log}")
    print(
        f"watch it at {server.ui}, stop it with 'make down'; now label something:\n"
        "  prefect deployment run 'label/label-batch' -p manifest=demo/world/manifest.jsonl -p recipe=demo"
    )


def down(folder: Path) -> None:
    """Stop the worker with its runs, then the server. Labels and the server's history stay."""
    stopped = [name for name in ("worker", "server") if Background(folder, name).stop()]
    point_nowhere()
    print(f"stopped: {', '.join(stopped) or 'nothing was running'}")


def deploy(server: Server) -> None:
    """Deploy everything that prefect.yaml names.

    Raises:
        IvmError: with what `prefect deploy` said.
    """
    done = subprocess.run(
        [PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", str(DEFINITIONS)],
        env=server.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise IvmError(f"'prefect deploy --all' failed:\n{done.stdout}{done.stderr}")


def point_here(url: str) -> None:
    """Let every `prefect` command in this folder find the server, without a profile or a variable."""
    _write_env([*_foreign_lines(), f"{_ADDRESS}{url}"])


def point_nowhere() -> None:
    """Undo `point_here`."""
    if ENV.exists():
        _write_env(_foreign_lines())


def _foreign_lines() -> list[str]:
    lines = ENV.read_text().splitlines() if ENV.exists() else []
    return [line for line in lines if not line.startswith(_ADDRESS)]


def _write_env(lines: list[str]) -> None:
    if lines:
        write_text(ENV, "\n".join(lines) + "\n")
    else:
        ENV.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.up", description=__doc__)
    parser.add_argument("--down", action="store_true", help="stop what was started")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
