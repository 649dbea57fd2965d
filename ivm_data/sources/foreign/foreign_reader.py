"""What a reader of a foreign data set is, and how its pairs become our manifest.

A reader is one file in this package and one line in `registry.READERS`:

    @dataclass(frozen=True)
    class VsrConfig:
        captions: str      # required fields first: the owner's files, as paths of this machine
        images: str = ""   # folder of the image files, relative to the image root of `ivm label`

    def read_vsr(config: VsrConfig) -> Iterator[Pair | BadRecord]:
        \"""VSR: a true caption is the instruction; nothing is labeled.

        Reads: train.jsonl, dev.jsonl, test.jsonl
        \"""

The docstring is what `ivm import` shows: one line that says what becomes what, and the owner's files.

Fields are str, int, float or bool, so that `--set field=value` can give them; each is described in the config's
docstring. The generator reads the owner's files as published, in one pass, and holds no more of them than their format
forces it to (`json_stream` streams JSON and remembers where records lie). A wrong config or a file that is not there or
is no such format at all raises ConfigError; a single record that cannot be used is yielded as `BadRecord`, which
`checked` does for the common exceptions. The order of pairs follows from the files alone.

A record that asks for nothing (a caption that its owner marks as false, a phrase that is "not visual") yields nothing:
it is not bad. Heavy imports belong inside functions: `ivm import` imports every reader to list it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivm_data.sources.lines import whole_manifest
from storage.errors import ConfigError

Target = dict[str, Any]
"""A target as the manifest writes it; see `ivm_data.sources.human_mask`."""


@dataclass(frozen=True)
class ForeignPair:
    """One line of the manifest.

    Attributes:
        image: path relative to the image root; or the encoded file's bytes, which `write_manifest` stores beside the
            manifest.
        targets: what a person marked; () says that the thing asked for is not in the image, None that nobody looked.
        source: the data set, where the record names its own.
        ignore: pixels that count for nobody when a mask is scored, as targets.
    """

    image: str | bytes
    instruction: str
    kind: str = ""
    difficulty: str = ""
    held_out: bool = False
    targets: tuple[Target, ...] | None = None
    source: str = ""
    ignore: tuple[Target, ...] = ()


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used; `ivm label` makes it a rejection `bad_source_record`.

    Attributes:
        where: the file and the place in it, without a path of this machine.
        why: what was seen.
    """

    where: str
    why: str


@dataclass
class Written:
    """What `write_manifest` wrote: pairs, those with targets among them, bad records, and the images' names."""

    pairs: int = 0
    labeled: int = 0
    bad: int = 0
    images: set[str] = field(default_factory=set)


def checked(
    where: str, make: Callable[..., Iterable[ForeignPair]], *arguments: Any
) -> Iterator[ForeignPair | BadRecord]:
    """The pairs that `make(*arguments)` makes of one record, all or none: a wrong field makes one `BadRecord`."""
    try:
        pairs = list(make(*arguments))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        yield BadRecord(where, f"{type(error).__name__}: {error}"[:300])
    else:
        yield from pairs


def box_target(x: float, y: float, width: float, height: float) -> Target:
    """A target from a box in XYWH pixels.

    Raises:
        ValueError: it covers nothing.
    """
    if not (width > 0 and height > 0):
        raise ValueError(f"a box of width {width} and height {height} covers nothing")
    return {"box": [x, y, x + width, y + height]}


def image_path(folder: str, name: str) -> str:
    """`name` in a folder relative to the image root; "" is the root itself.

    The folder may lie in an archive: `zip://train2017::coco/train2017.zip`, or `zip://::images.zip` for its top.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of an image must be a string with characters, got {name!r}")
    if "::" in folder:
        inside, archive = folder.split("::", 1)
        return f"{inside if inside.endswith('/') else inside + '/'}{name}::{archive}"
    return f"{folder.rstrip('/')}/{name}" if folder else name


def existing(path: str, field: str, folder: bool = False) -> Path:
    """The file, or the folder, that a config's field names.

    Raises:
        ConfigError: it is not there.
    """
    if not (Path(path).is_dir() if folder else Path(path).is_file()):
        what = "folder" if folder else "file"
        raise ConfigError(f"'{path}' is not there; set {field} to the {what} as its owner publishes it")
    return Path(path)


def write_manifest(records: Iterable[ForeignPair | BadRecord], out: Path, source: str) -> Written:
    """Write a JSONL manifest, one line a record; it appears last and whole.

    Args:
        out: path that ends in .jsonl; a file there is replaced. Image bytes go to `images/` beside it, named by their
            hash.
        source: name of the data set, where a pair names none.

    Raises:
        ConfigError: another suffix, or no records at all.
    """
    written = Written()
    with whole_manifest(out) as lines:
        for record in records:
            lines.write(_line(record, source, out.parent, written) + "\n")
        if not written.pairs + written.bad:
            raise ConfigError(f"source '{source}' holds no records; check the files that its options name")
    return written


def _line(record: ForeignPair | BadRecord, source: str, folder: Path, written: Written) -> str:
    if isinstance(record, BadRecord):
        written.bad += 1
        return json.dumps({"error": f"{record.where}: {record.why}", "source": source})
    image = record.image if isinstance(record.image, str) else _store(record.image, folder, written)
    row: dict[str, Any] = {"image": image, "instruction": record.instruction, "source": record.source or source}
    row |= {name: value for name in ("kind", "difficulty", "held_out") if (value := getattr(record, name))}
    row |= {} if record.targets is None else {"targets": list(record.targets)}
    row |= {"ignore": list(record.ignore)} if record.ignore else {}
    try:
        line = json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        return _line(BadRecord(f"image {image}", f"{record.instruction!r:.60}: {error}"), source, folder, written)
    written.pairs += 1
    written.labeled += "targets" in row
    return line


def _store(data: bytes, folder: Path, written: Written) -> str:
    """Write an image once; a file that a killed run left is replaced by one rename."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            suffix = (image.format or "bin").lower()
    except Exception:  # Pillow's decoders raise nearly every type; the image is rejected when it is labeled
        suffix = "bin"
    name = f"images/{hashlib.blake2b(data, digest_size=16).hexdigest()}.{suffix}"
    if name not in written.images:
        written.images.add(name)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    return name
