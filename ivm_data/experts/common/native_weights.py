"""Reading the original projects' `.pth` files: tensors only, every one accounted for.

A `.pth` is a pickle. It is read with `weights_only=True`, so that a file with code in it is refused, never run.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivm_model.model.base_models import first_line
from storage.errors import WeightsError

if TYPE_CHECKING:
    import torch


def file_name(path: str, revision: str = "") -> str:
    """`model@revision` for the lineage: the file's stem, and the revision given or the hash of its bytes.

    Raises:
        WeightsError: there is no such file.
    """
    _check_file(path)
    return f"{Path(path).stem}@{revision or _file_hash(Path(path).resolve())}"


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """The state dict of a `.pth`, on the CPU: the whole file, or what lies under its key "model".

    The prefix "module." that DistributedDataParallel writes is taken off.

    Raises:
        WeightsError: the file is missing, torn, holds code, or holds something other than named tensors.
    """
    import torch

    _check_file(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path!r} holds more than tensors, or is no torch file ({first_line(error)}), and was not read: only "
            "files that torch.load reads with weights_only=True are allowed; get the file from its publisher again"
        ) from error
    except Exception as error:  # torch's unpickler raises nearly every type on foreign bytes
        raise WeightsError(
            f"cannot read {path!r}: {first_line(error)}; the file is torn or not a .pth of torch.save; copy it again"
        ) from error
    tensors = held.get("model", held) if isinstance(held, Mapping) else held
    is_named = isinstance(tensors, Mapping) and all(isinstance(value, torch.Tensor) for value in tensors.values())
    if not is_named or not tensors:
        raise WeightsError(
            f"{path!r} holds a {type(tensors).__name__} without named tensors; a state dict is needed, or a mapping "
            "with one under 'model'; give the published .pth of this model"
        )
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_strictly(model: Any, path: str, architecture: str, ignored: Collection[str] = ()) -> None:
    """Fill a model from a `.pth` that holds exactly its tensors.

    Args:
        model: a `torch.nn.Module`.
        path: the file.
        architecture: what the model was built as, for the message.
        ignored: names in published files that no inference needs.

    Raises:
        WeightsError: as `read_tensors`, or the file is of another architecture.
    """
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if name not in ignored}
    expected = model.state_dict()
    missing, foreign = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    shaped = [name for name in sorted(expected.keys() & tensors.keys()) if expected[name].shape != tensors[name].shape]
    if missing or foreign or shaped:
        kinds = [("missing", missing), ("unknown", foreign), ("of another shape", shaped)]
        seen = ", ".join(f"{len(names)} {kind} (first {names[0]!r})" for kind, names in kinds if names)
        raise WeightsError(
            f"{path!r} does not fit architecture {architecture!r}: of {len(expected)} tensors {seen}; "
            "all must be there with the same shape; choose the architecture that the file was trained as"
        )
    model.load_state_dict(tensors)


def _check_file(path: str) -> None:
    if not Path(path).is_file():
        raise WeightsError(f"no weights file {path!r}; give the path of a .pth file that its publisher offers")


@cache
def _file_hash(file: Path) -> str:
    """8 hex digits of BLAKE2b over the file; a process looks once."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=4)).hexdigest()
