"""The state of an unfinished training on disk: whole or not at all, and only for the training that wrote it."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from storage.disk.publish import whole_folder
from storage.errors import ConfigError, IvmWarning

FOLDER = "state"
_TENSORS, _FACTS = "state.pt", "state.json"
_KEPT = 2
"""The last state and the one before it, in case the last cannot be read."""


class StateStore:
    """Numbered states `OUT/state/<number>` of one training.

    Args:
        out: directory of the checkpoint to come.
        identity: whatever must be equal for a state to be gone on from; JSON values.
        snapshot: the rows that train; noted beside the state, for the training that goes on from it.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], snapshot: str = "") -> None:
        self.folder, self.snapshot = out / FOLDER, snapshot
        text = json.dumps(identity, sort_keys=True, default=str)
        self.identity = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def save(self, number: int, state: Mapping[str, Any]) -> Path:
        """Write a state of tensors and plain values; older ones but one are removed when it is on disk."""
        final = self.folder / f"{number:08d}"
        with whole_folder(final) as hidden:
            torch.save(dict(state), hidden / _TENSORS)
            facts = {"identity": self.identity, "hash": _hash(hidden / _TENSORS), "snapshot": self.snapshot}
            (hidden / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        for old in _found(self.folder)[_KEPT:]:
            shutil.rmtree(old)
        return final

    def load(self) -> dict[str, Any] | None:
        """The last whole state; None where there is none. One that is torn is named in a warning and passed over.

        Raises:
            ConfigError: it is the state of another configuration or of other data.
        """
        for path in _found(self.folder):
            try:
                facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
                identity, expected = facts["identity"], facts["hash"]
                whole = _hash(path / _TENSORS) == expected
            except (OSError, ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                warnings.warn(f"'{path}' is torn or not a training state; it is left out", IvmWarning, stacklevel=2)
                continue
            if identity != self.identity:
                raise ConfigError(
                    f"'{path}' is the state of a training of another configuration, data or number of processes "
                    f"(hash {identity}, now {self.identity}); go on with the old ones, choose another folder for the "
                    f"checkpoint, or remove '{self.folder}' to start again"
                )
            state: dict[str, Any] = torch.load(path / _TENSORS, map_location="cpu", weights_only=True)
            return state
        return None


def begun_with(out: Path) -> str:
    """The snapshot that an unfinished training in `out` began with; "" where none began, or it noted none."""
    for path in _found(out / FOLDER):
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((path / _FACTS).read_text(encoding="utf-8"))["snapshot"])
    return ""


def _found(folder: Path) -> list[Path]:
    """The states, the last first."""
    return sorted((path for path in folder.glob("[0-9]*") if path.name.isdecimal() and path.is_dir()), reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
