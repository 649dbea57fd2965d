"""Reading a transformers checkpoint, local or from the hub, with errors that say what to do."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from storage.errors import WeightsError

DTYPES = ("float32", "bfloat16", "float16")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def checkpoint_name(path: str, revision: str) -> str:
    """`model@revision` for the lineage, without reading any tensor into memory.

    Args:
        path: a checkpoint directory or a hub id such as `facebook/sam-vit-base`.
        revision: branch, tag or commit; where empty, a directory gets the hash of its weights and a hub id "main".
    """
    directory = Path(path)
    if not directory.is_dir():
        return f"{path}@{revision or 'main'}"
    return f"{directory.name}@{revision or _content_hash(directory.resolve())}"


def load_checkpoint(model_class: Any, path: str, revision: str, device: str, dtype: str) -> tuple[Any, dict[str, Any]]:
    """A model in evaluation mode, and the keyword arguments that its processor must be loaded with.

    Args:
        model_class: a subclass of `transformers.PreTrainedModel`.

    Raises:
        WeightsError: the directory is missing, of another architecture, torn, or lacks tensors.
    """
    import torch

    source = {"revision": revision} if revision and not Path(path).is_dir() else {}
    _check_architecture(path, model_class.config_class.model_type)
    model, report = load_part(model_class, path, source, dtype=getattr(torch, dtype), output_loading_info=True)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{path!r} lacks {len(missing)} tensors of {model_class.__name__}, first {missing[0]!r}; "
            "save the checkpoint again with save_pretrained"
        )
    return model.to(device).eval(), source


def load_part(part_class: Any, path: str, source: dict[str, Any], **options: Any) -> Any:
    """`part_class.from_pretrained(path)`: a model, a processor or a tokenizer.

    Raises:
        WeightsError: the files are missing, torn, or of another kind.
    """
    from safetensors import SafetensorError

    try:
        return part_class.from_pretrained(path, **source, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"cannot read {part_class.__name__} from {path!r}: {_first_line(error)}; give a directory with "
            "config.json, model.safetensors and the processor's files, or a hub id that can be reached"
        ) from error


def _check_architecture(path: str, expected: str) -> None:
    """Refuse a directory before its weights are read; a hub id is checked by the class that reads it."""
    directory = Path(path)
    if not directory.is_dir():
        if _HUB_ID.fullmatch(path):
            return
        raise WeightsError(f"no checkpoint directory {path!r}; give an existing directory or a hub id like 'org/name'")
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path!r} has no readable config.json: {_first_line(error)}") from error
    if found != expected:
        raise WeightsError(f"{path!r} holds a {found!r} model; this expert needs model_type {expected!r}")


@cache
def _content_hash(directory: Path) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
