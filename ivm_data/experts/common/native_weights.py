"""Reading the original projects' `.pth` files: tensors only, every one accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from ivm_model.model.torch_file import read_tensors
from storage.errors import WeightsError

_ADVICE = "get the published .pth of this model again from its publisher"


def file_name(path: str, revision: str = "") -> str:
    """`model@revision` for the lineage: the file's stem, and the revision given or the hash of its bytes.

    Raises:
        WeightsError: there is no such file.
    """
    _check_file(path)
    return f"{Path(path).stem}@{revision or _file_hash(Path(path).resolve())}"


def load_strictly(model: Any, path: str, architecture: str, ignored: Collection[str] = ()) -> None:
    """Fill a model from a `.pth` that holds exactly its tensors.

    Args:
        model: a `torch.nn.Module`.
        path: the file.
        architecture: what the model was built as, for the message.
        ignored: names in published files that no inference needs.

    Raises:
        WeightsError: the file is missing, torn, holds code or other things than tensors, or is of another architecture.
    """
    _check_file(path)
    tensors = {name: tensor for name, tensor in read_tensors(Path(path), _ADVICE).items() if name not in ignored}
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
