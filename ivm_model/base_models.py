"""Reading the frozen base models, SAM and an LMM, with errors that say what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from storage.errors import WeightsError


def load_base(model_class: Any, path: str) -> Any:
    """A transformers model in evaluation mode without gradients.

    Args:
        path: checkpoint directory or hub id.

    Raises:
        WeightsError: the checkpoint is missing, torn, of another architecture, or lacks tensors.
    """
    from safetensors import SafetensorError

    try:
        model, report = model_class.from_pretrained(path, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"cannot read {model_class.__name__} from {path!r}: {first_line(error)}; "
            "give a directory with config.json and a whole model.safetensors, or a hub id that can be reached"
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{path!r} lacks {len(missing)} tensors of {model_class.__name__}, first {missing[0]!r}; "
            "it may hold another kind of model, or was not written by save_pretrained"
        )
    return model.eval().requires_grad_(False)


def load_processor(processor_class: Any, path: str) -> Any:
    """The processor that lies beside a base model.

    Raises:
        WeightsError: the files are missing or cannot be read.
    """
    try:
        return processor_class.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"cannot read {processor_class.__name__} from {path!r}: {first_line(error)}; "
            "save the processor beside the weights with save_pretrained"
        ) from error


def content_name(path: str) -> str:
    """`model@revision`: a directory's name and the hash of its weights, or the hub id at "main"."""
    directory = Path(path)
    if not directory.is_dir():
        return f"{path}@main"
    return f"{directory.name}@{hash_files(sorted(directory.glob('*.safetensors')))}"


def hash_files(files: list[Path]) -> str:
    """8 hex digits of BLAKE2b over the files' bytes."""
    digest = hashlib.blake2b(digest_size=4)
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
