"""Processes that outlive the command that started them, each known by a file with its pid and start time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from storage.disk.publish import write_text

PATIENCE_S = 20.0
"""Seconds that a process has to end by itself."""


@dataclass(frozen=True)
class Background:
    """A process in the background: `<folder>/<name>.json` says which one, `<folder>/<name>.log` holds what it prints.

    A pid alone may belong to another process by now; with its start time it does not.
    """

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """The file that the process prints into."""
        return self.folder / f"{self.name}.log"

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a command in a session of its own, so that Ctrl-C in this terminal does not reach it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        known = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        write_text(self._file, json.dumps(known))

    def find(self) -> psutil.Process | None:
        """The process while it lives; None where it is gone, or its pid is another process's now."""
        try:
            known = json.loads(self._file.read_text())
            process = psutil.Process(known["pid"])
            alive = process.create_time() == known["started"] and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if alive else None

    def stop(self) -> bool:
        """End the process and what it started; False where there was nothing to end."""
        process = self.find()
        if process is not None:
            family = process.children(recursive=True)
            _end([process])
            _end(family)
        self._file.unlink(missing_ok=True)
        return process is not None

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.json"


def _end(processes: Sequence[psutil.Process]) -> None:
    """Ask politely, then kill; psutil signals no pid that was given away meanwhile."""
    for process in processes:
        if process.is_running():
            process.terminate()
    for process in psutil.wait_procs(processes, PATIENCE_S)[1]:
        process.kill()
