"""The beginning of a manifest, to try a recipe on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ivm_data.sources.manifest_parts import columns_of, dataset_name, records
from storage.disk.publish import whole_file


def write_first(manifest: Path, count: int, folder: Path) -> Path:
    """Write the first records of a manifest, byte for byte, below a folder; blank lines count for none.

    With the image root of the whole manifest these are its own records: labeling it later goes on behind them.

    Raises:
        ConfigError: see `columns_of`.
    """
    columns = columns_of(manifest)
    out = folder / f"first-{count}" / f"{dataset_name(manifest)}{manifest.suffix}"
    out.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("rb") as lines, whole_file(out) as hidden, hidden.open("wb") as written:
        raws = (raw for raw in records(lines, columns) if raw.strip())
        for raw in islice(raws, count + (columns is not None)):
            written.write(raw.rstrip(b"\r\n") + b"\n")
    return out
