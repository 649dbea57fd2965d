"""A folder of pictures and what is asked of them, as a manifest that lies in the data set."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest_parts import dataset_name
from storage.disk.publish import write_text

FOLDER = "manifests"
"""Of a data set: the manifests that were made for it, each named by its content."""


def write_asked(
    data: Path, images: Path, instruction: str = "", instructions: Path | None = None, first: int | None = None
) -> Path:
    """Write the manifest of pictures that are labeled without one; image paths in it are relative to their folder.

    The same pictures and instructions give the same file, so that labeling again goes on with it. A manifest with
    other lines is another file, and pairs that both name are known by their lines.

    Args:
        data: folder of the data set.
        images: the pictures, which may lie in folders below it.
        instruction: asked of every picture.
        instructions: a text file, as the source `folder` reads it; one of both is given.
        first: how many pairs to take at most.

    Raises:
        ConfigError: no picture, no instruction, or a file that cannot be read.
    """
    options = {"folder": str(images), "instruction": instruction, "images": "."}
    options |= {"instructions": str(instructions)} if instructions else {}
    name = dataset_name(images / "manifest")
    with TemporaryDirectory() as folder:
        made = Path(folder) / f"{name}.jsonl"
        write_manifest(islice(read("folder", options), first), made, name)
        lines = made.read_text(encoding="utf-8")
    digest = hashlib.blake2b(lines.encode(), digest_size=4).hexdigest()
    return write_text(data / FOLDER / f"{name}-{digest}.jsonl", lines)
