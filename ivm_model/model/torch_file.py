"""State dicts of torch.save: tensors only, and the words for what a download may be instead.

Such a file is a pickle. It is read with `weights_only=True`, so that a file with code in it is refused, never run, and
mapped into memory, so that only tensors that are used are read.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ivm_model.model.base_models import first_line
from storage.errors import WeightsError

if TYPE_CHECKING:
    import torch

SHOWN = 4
"""Most names that an error lists."""
_HEAD = 256
_FOREIGN = {
    (b"<!doctype", b"<html", b"<head", b"<?xml"): "is an HTML page, as a link to a web page gives it, and no weights",
    (b"version https://git-lfs",): "is a Git LFS pointer, and no weights; 'git lfs pull' gets the file itself",
    (b"{", b"["): "is JSON, and no weights",
}
_WRAPPERS = ("model", "state_dict", "module")
"""Keys under which trainers put a state dict."""


def read_tensors(file: Path, advice: str) -> dict[str, torch.Tensor]:
    """A state dict on the CPU: the whole file, or what lies under its key "model", "state_dict" or "module".

    The prefix "module." that DistributedDataParallel writes is taken off.

    Args:
        advice: what to do about a file that cannot be used, for the message.

    Raises:
        WeightsError: the file is missing, torn, holds code, or holds something other than named tensors.
    """
    import torch

    if mistaken := no_weights(file):
        raise WeightsError(f"'{file}' {mistaken}; {advice}")
    try:
        held = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"'{file}' holds more than tensors, or is torn: torch.load refuses it with weights_only=True, and without "
            f"that it could run code; {advice}"
        ) from error
    except Exception as error:  # torch's unpickler raises nearly every type on foreign bytes
        raise WeightsError(f"'{file}' is torn, or no file of torch.save: {_first_sentence(error)}; {advice}") from error
    tensors = _unwrapped(held)
    if not isinstance(tensors, Mapping) or not tensors:
        raise WeightsError(f"'{file}' is no state dict of tensors, found {_described(held)}; {advice}")
    return {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}


def no_weights(file: Path) -> str:
    """Why a file can hold no weights, from its first bytes: "is an HTML page, ..."; "" where it may."""
    if not file.is_file():
        return "is a folder" if file.is_dir() else "is not there"
    with file.open("rb") as stream:
        head = stream.read(_HEAD).lstrip().lower()
    if not head:
        return "is empty"
    return next((what for starts, what in _FOREIGN.items() if head.startswith(starts)), "")


def listed(names: set[str] | list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def _unwrapped(held: object) -> object:
    """The mapping of tensors in what was saved; None where there is none."""
    import torch

    def named(value: object) -> bool:
        return isinstance(value, Mapping) and all(isinstance(tensor, torch.Tensor) for tensor in value.values())

    if not isinstance(held, Mapping):
        return None
    candidates = [held, *(held[key] for key in _WRAPPERS if key in held)]
    return next((value for value in candidates if named(value)), None)


def _first_sentence(error: Exception) -> str:
    return first_line(error).partition(". ")[0]


def _described(held: object) -> str:
    return listed([repr(key) for key in held]) or "nothing" if isinstance(held, Mapping) else type(held).__name__
