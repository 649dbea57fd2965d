"""Several manifests -> one, in which each has its share of the lines.

Shares are of the mixture: with 0.5, 0.3 and 0.2 every second line is of the first. Without a size the mixture ends
where the first source has no more lines. A source with a cap stops there, and the others go on.

No manifest is held in memory, but some 60 bytes for each of its lines.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.sources.files import moved
from ivm_data.sources.lines import parse, read_lines, whole_manifest
from ivm_data.sources.manifest_keys import misnamed, truth
from ivm_data.sources.manifest_parts import dataset_name
from ivm_data.sources.manifest_rows import tidy_instruction
from ivm_data.sources.repeated_pairs import UNLABELED, Identity, label_hash, pair_key, settle, short_hash
from storage.common.validation import Checked, Natural, Positive
from storage.errors import ConfigError


@dataclass(frozen=True)
class Source(Checked):
    """A manifest of a mixture.

    Attributes:
        share: of the mixture's lines; shares count in proportion to their sum.
        cap: the most lines that are taken; 0 for no cap.
    """

    manifest: Path
    share: Positive
    cap: Natural = 0


@dataclass(frozen=True)
class MixConfig(Checked):
    """How sources are mixed.

    Attributes:
        size: lines in all, but for caps; 0 for as many as the shares allow.
        seed: which lines of a source are taken.
        image_root: folder that all image paths are relative to already; None where each manifest's are relative to its
            own folder.
    """

    size: Natural = 0
    seed: Natural = 0
    image_root: Path | None = None


@dataclass(frozen=True)
class Mixture:
    """What `mix` wrote: the root of its image paths, and (manifest, lines, usable, share, taken) of each source."""

    root: Path
    rows: list[tuple[str, int, int, float, int]]


def parse_source(text: str) -> Source:
    """`a.jsonl=0.5` or `a.jsonl=0.5:10000`.

    Raises:
        ConfigError: another form.
    """
    manifest, _, rest = text.rpartition("=")
    share, _, cap = rest.partition(":")
    try:
        return Source(Path(manifest), float(share), int(cap or 0))
    except ValueError as error:
        raise ConfigError(f"expected MANIFEST=SHARE or MANIFEST=SHARE:CAP, got {text!r}") from error


def mix(sources: Sequence[Source], out: Path, config: MixConfig) -> Mixture:
    """Write the mixture; equal sources, size and seed make the same file.

    Bad lines are left out. So are, of lines with one image and instruction, all but the one that counts, whichever
    source they are of, and all where they contradict each other (see `repeated_pairs`). Within a source lines keep
    their order; sources are interleaved evenly. Each line names its `source`.

    Raises:
        ConfigError: a manifest that is not there or holds no pair, one given twice, or a size too large for a source.
    """
    _check(sources, out)
    folders = [source.manifest.resolve().parent for source in sources]
    root = Path(os.path.commonpath(folders)) if config.image_root is None else config.image_root.resolve()
    below = ["" if config.image_root else os.path.relpath(folder, root).removeprefix(".") for folder in folders]
    usable = _usable(sources, below)
    wanted = _wanted(sources, [int(usable_N.sum()) for usable_N in usable], config.size)
    chosen = [
        _chosen(usable_N, number, np.random.default_rng([config.seed, place]))
        for place, (usable_N, number) in enumerate(zip(usable, wanted, strict=True))
    ]
    streams = [_taken(*source) for source in zip(sources, below, chosen, strict=True)]
    with whole_manifest(out) as file:
        for place in _order(wanted):
            file.write(f"{next(streams[place])}\n")
    total = sum(source.share for source in sources)
    rows = [
        (str(source.manifest), len(usable_N), int(usable_N.sum()), source.share / total, number)
        for source, usable_N, number in zip(sources, usable, wanted, strict=True)
    ]
    return Mixture(root, rows)


def _check(sources: Sequence[Source], out: Path) -> None:
    manifests = [source.manifest.resolve() for source in sources]
    if len(set(manifests)) < len(manifests):
        raise ConfigError("a manifest is given twice; give each once, with the sum of its shares")
    if out.resolve() in manifests:
        raise ConfigError(f"'{out}' is one of the sources; write to another file")


def _usable(sources: Sequence[Source], below: Sequence[str]) -> list[np.ndarray]:
    """For each source, (lines,) bool: a pair that counts among all sources."""
    keys, labels, held_out, sizes = array("Q"), array("Q"), array("B"), []
    for source, folder in zip(sources, below, strict=True):
        before = len(keys)
        for line in read_lines(source.manifest):
            found = _identity(parse(line), folder)
            keys.append(0 if found is None else short_hash(found.key))
            labels.append(UNLABELED if found is None else found.label)
            held_out.append(found is not None and found.held_out)
        sizes.append(len(keys) - before)
    key_N = np.frombuffer(keys, np.uint64)
    verdicts = settle(key_N, np.frombuffer(labels, np.uint64), np.frombuffer(held_out, np.bool_))
    usable_N = (key_N != 0) & ~verdicts.duplicate_N & ~verdicts.conflict_N
    return np.split(usable_N, np.cumsum(sizes)[:-1])


def _identity(row: dict[str, Any] | None, folder: str) -> Identity | None:
    """What a line is about and says, seen from the mixture's root; None for one that `ivm label` would refuse."""
    if row is None or misnamed(row):
        return None
    try:
        held_out = truth("held_out", row.get("held_out"))
    except ValueError:
        return None
    row = _moved(row, folder)
    label = label_hash(row.get("targets"), row.get("mask"), row.get("ignore"))
    return Identity(pair_key(row["image"], tidy_instruction(row["instruction"])), label, held_out)


def _wanted(sources: Sequence[Source], usable: Sequence[int], size: int) -> list[int]:
    """Lines to take of each source.

    Without a size the mixture has T lines before caps, T the largest number at which no source runs out before its
    cap: the least of usable / share over the sources that their cap does not stop before, or, where all are stopped,
    the T at which the last one is.
    """
    for source, number in zip(sources, usable, strict=True):
        if not number:
            raise ConfigError(f"'{source.manifest}' holds no pair that counts beside the other sources; leave it out")
    shares = np.array([source.share for source in sources]) / sum(source.share for source in sources)
    caps = np.array([source.cap or np.inf for source in sources])
    if size:
        total = float(size)
    else:
        open_ = caps > usable
        total = float(np.min((usable / shares)[open_]) if open_.any() else np.max(caps / shares))
    wanted = [int(number) for number in np.minimum(np.floor(total * shares + 1e-6), caps)]
    for source, number, need in zip(sources, usable, wanted, strict=True):
        if need > number:
            raise ConfigError(
                f"'{source.manifest}' holds {number} usable lines, but {need} are its share of {size}; lower --size or "
                "its share, or give it a cap"
            )
    return wanted


def _chosen(usable_N: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """(lines,) bool: `number` of the usable ones."""
    chosen_N = np.zeros(len(usable_N), bool)
    chosen_N[rng.choice(np.flatnonzero(usable_N), number, replace=False)] = True
    return chosen_N


def _order(wanted: Sequence[int]) -> Iterator[int]:
    """Places of the sources, each as often as it is wanted, spread evenly: the one that lags most comes next."""
    wanted_N = np.array(wanted)
    taken_N = np.zeros(len(wanted))
    for _ in range(int(wanted_N.sum())):
        place = int(np.argmin(np.where(taken_N < wanted_N, (taken_N + 0.5) / np.maximum(wanted_N, 1), np.inf)))
        taken_N[place] += 1
        yield place


def _taken(source: Source, folder: str, chosen_N: np.ndarray) -> Iterator[str]:
    """The chosen lines, as they are seen from the mixture's root."""
    for line, chosen in zip(read_lines(source.manifest), chosen_N, strict=True):
        row = parse(line) if chosen else None
        if row is not None:
            yield json.dumps(_moved(row, folder) | {"source": row.get("source") or dataset_name(source.manifest)})


def _moved(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """The row with the references of its image and masks as seen from a root that holds theirs as `folder`."""
    new: dict[str, Any] = _with_mask(row, folder) | {"image": moved(row["image"], folder)}
    for name in ("targets", "ignore"):
        if isinstance(row.get(name), list):
            new[name] = [_with_mask(target, folder) for target in row[name]]
    return new


def _with_mask(thing: Any, folder: str) -> Any:
    has_path = isinstance(thing, dict) and isinstance(thing.get("mask"), str)
    return thing | {"mask": moved(thing["mask"], folder)} if has_path else thing
