"""Reading transformers checkpoints, local or from the hub, with errors that say what to do.

Weights are safetensors or `weights_only`; code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from storage.errors import WeightsError

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""As a config names it; `placement.dtype_of` says which one "auto" is."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def checkpoint_name(path: str, revision: str = "") -> str:
    """`model@revision` for the lineage, without reading any tensor into memory.

    Args:
        path: a checkpoint directory or a hub id such as `facebook/sam-vit-base`.
        revision: branch, tag or commit; where empty, a directory gets the hash of its weights.

    Returns:
        For a hub id its commit, once that is in the cache: a branch that moves is another model. Before that, the
        revision or "main".
    """
    directory = Path(path)
    if not directory.is_dir():
        return f"{path}@{_cached_commit(path, revision) or revision or 'main'}"
    return f"{directory.name}@{revision or _content_hash(directory.resolve())}"


def load_model(
    model_class: Any,
    path: str,
    revision: str = "",
    device: str = "cpu",
    dtype: str = "float32",
    *,
    also: tuple[str, ...] = (),
) -> tuple[Any, dict[str, Any]]:
    """A model in evaluation mode, and the keyword arguments that its processor must be loaded with.

    Args:
        model_class: a subclass of `transformers.PreTrainedModel`, or an Auto class, which takes any architecture.
        also: further model types of a config.json that the class reads, as those of released video models.

    Raises:
        WeightsError: the directory is missing, of another architecture, torn, or lacks tensors.
    """
    import torch

    source = {"revision": revision} if revision and not Path(path).is_dir() else {}
    config_class = getattr(model_class, "config_class", None)
    check_directory(path, (config_class.model_type, *also) if config_class else ())
    model, report = load_part(model_class, path, source, dtype=getattr(torch, dtype), output_loading_info=True)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{path!r} lacks {len(missing)} tensors of {model_class.__name__}, first {missing[0]!r}; "
            "it may hold another kind of model, or was not written by save_pretrained"
        )
    return model.to(device).eval(), source


def computing_in(dtype: str, device: str) -> Any:
    """A context in which a float32 model computes in `dtype` wherever `torch.autocast` holds that to be safe.

    Coordinates stay float32: bfloat16 cannot tell 1021 from 1024.
    """
    import torch

    return torch.autocast(torch.device(device).type, getattr(torch, dtype), enabled=dtype != "float32")


def to_device(values: torch.Tensor, device: Any) -> torch.Tensor:
    """Start a copy to the device; to a CUDA device from pinned memory, so that nobody waits for it here."""
    import torch

    is_cuda = torch.device(device).type == "cuda"
    return (values.pin_memory() if is_cuda else values).to(device, non_blocking=is_cuda)


def load_part(part_class: Any, path: str, source: dict[str, Any] | None = None, **options: Any) -> Any:
    """`part_class.from_pretrained(path)`: a model, a processor or a tokenizer.

    Raises:
        WeightsError: the files are missing, torn, or of another kind.
    """
    from safetensors import SafetensorError

    try:
        with _quietly():
            return part_class.from_pretrained(path, **(source or {}), **options)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path!r} holds a pickle with more than tensors, and it was not read; get the checkpoint as "
            "model.safetensors"
        ) from error
    except ImportError as error:
        raise WeightsError(
            f"{part_class.__name__} of {path!r} needs a package that is not installed: {first_line(error)}; install it "
            "beside the engine"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise WeightsError(
            f"cannot read {part_class.__name__} from {path!r}: {first_line(error)}; give a directory with "
            "config.json, model.safetensors and the processor's files, or a hub id that can be reached"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress bar of a load that takes milliseconds, and without advice about a model's widths."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_directory(path: str, expected: tuple[str, ...]) -> None:
    """Refuse a directory before its weights are read; a hub id is checked by the class that reads it.

    Args:
        expected: model types that will do; none means any.
    """
    directory = Path(path)
    if not directory.is_dir():
        if HUB_ID.fullmatch(path):
            return
        raise WeightsError(f"no checkpoint directory {path!r}; give an existing directory or a hub id like 'org/name'")
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path!r} has no readable config.json: {first_line(error)}; "
            "give a directory that save_pretrained wrote, or a hub id like 'org/name'"
        ) from error
    if expected and found not in expected:
        needed = " or ".join(map(repr, expected))
        raise WeightsError(f"{path!r} holds a {found!r} model; model_type {needed} is needed here")


_commits: dict[tuple[str, str], str] = {}
"""Commits by hub id and revision: a name is asked for with every row, and stays what it was when it was loaded."""


def _cached_commit(repository: str, revision: str) -> str:
    """12 hex digits of the commit that a revision of a hub id was when it was downloaded; "" where it was not."""
    from huggingface_hub import try_to_load_from_cache

    if not HUB_ID.fullmatch(repository):
        return ""
    key = (repository, revision)
    if key not in _commits:
        found = try_to_load_from_cache(repository, "config.json", revision=revision or None)
        if not isinstance(found, str):
            return ""
        _commits[key] = Path(found).parent.name[:12]
    return _commits[key]


@cache
def _content_hash(directory: Path) -> str:
    """8 hex digits of BLAKE2b over the weight files; a process looks once."""
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
