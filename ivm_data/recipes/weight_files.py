"""Weight files on this machine: whether they are what their names say, and what they weigh. No tensor is read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Of a number, by torch's names and by those of safetensors."""
_PICKLE = b"\x80"
"""First byte of a `.pth` from before torch 1.6."""


def files_of(path: Path) -> list[Path]:
    """The weight files of a checkpoint; none where it is not here."""
    return [path] if path.is_file() else sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])


def cached(repository: str, revision: str) -> Path:
    """Folder of a hub id that was downloaded before; a folder that does not exist where it was not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return Path(repository)


def fault(path: Path) -> str:
    """Why a checkpoint's weight files cannot be read; "" where nothing speaks against it."""
    lacking = _lacking(path)
    if lacking:
        return f"{len(lacking)} weight files are not there, first {lacking[0]!r}"
    return next((f"'{file.name}' {wrong}" for file in files_of(path) if (wrong := _fault(file))), "")


def loaded_bytes(file: Path, bytes_each: int) -> int:
    """Bytes of the file's tensors in numbers of so many bytes; a `.pth` is taken for float32."""
    if file.suffix != ".safetensors":
        return file.stat().st_size * bytes_each // 4
    tensors = [tensor for name, tensor in _head(file).items() if name != "__metadata__"]
    return sum(
        (tensor["data_offsets"][1] - tensor["data_offsets"][0]) * bytes_each // BYTES.get(tensor["dtype"], bytes_each)
        for tensor in tensors
    )


def _lacking(path: Path) -> list[str]:
    """Weight files that a sharded checkpoint names and that are not there, as after a download that was cut."""
    named = {
        file for index in path.glob("*.index.json") for file in json.loads(index.read_text())["weight_map"].values()
    }
    return sorted(file for file in named if not (path / file).exists())


def _fault(file: Path) -> str:
    with file.open("rb") as stream:
        begin = stream.read(64)
    if file.suffix != ".safetensors":
        if zipfile.is_zipfile(file) or (begin.startswith(_PICKLE) and file.stat().st_size > len(begin)):
            return ""
        cut = begin.startswith(b"PK")
        return "is cut: its last part is not there" if cut else f"is no torch file: it begins with {begin[:24]!r}"
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in _head(file).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return f"is no safetensors file: it begins with {begin[:24]!r}"
    whole = 8 + int.from_bytes(begin[:8], "little") + max(ends, default=0)
    missing = whole - file.stat().st_size
    return f"is cut: {missing:,} bytes of {whole:,} are not there" if missing > 0 else ""


def _head(file: Path) -> dict[str, Any]:
    """Name -> dtype, shape and offsets of each tensor."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError("the head is longer than the file")
        head: dict[str, Any] = json.loads(stream.read(length))
    return head
