"""Where everything lies in a data set, and which of its files can be trusted.

DATA/labels/<recipe>/<part>.light.parquet       outcomes, scores, lineage; this file is the commit
DATA/labels/<recipe>/<part>.heavy.parquet       images and masks
DATA/timings/<recipe>/<part>.parquet            seconds of each stage
DATA/weights/<discriminator>/<part>.parquet     scores of labels by a discriminator or a judge
DATA/reviews/<reviewer>/<part>.parquet          reviews of labels by a person
DATA/decisions/<rule>/<part>.parquet            what a cleaning rule excluded, and included again
DATA/measures/<recipe>/<part>.parquet           what the pixels say: components, perceptual hash, votes
DATA/inputs/<recipe>/<part>.parquet             which record of which manifest stands for which outcome
DATA/evaluation/<set>/<part>.parquet            hashes of images that no training may see
DATA/reliability/<recipe>/<part>.parquet        sensitivity and specificity of the experts
DATA/gates/<recipe>/<hash>.json                 how labels are decided; log/ says since when
DATA/snapshots/<name>.json                      which of all this there was at a moment
DATA/recipes/<hash>.json                        whole configurations
DATA/manifests/<name>-<hash>.jsonl              what was asked of pictures that were labeled without a manifest
DATA/answers/answers.sqlite                     what experts answered, to be read again; may be deleted
DATA/superseded/<recipe>.json                   which rows another one has taken the place of; can be rebuilt
DATA/trainings/<key>.json                       which labels were trained on, and how
DATA/checkpoints/<name>/                        trained models, where no other folder is named
DATA/.footers.json                              what the footers of all these files say; can be rebuilt

A compaction puts many parts of labels, timings, measures and inputs into one file; `part_files` knows which.
`storage.data_set.DataSet` scans all this once and hands it to every reader.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ConfigError, ShardError
from storage.parts import part_files, schema
from storage.parts.files import CONTENT
from storage.parts.footers import Footer, Footers
from storage.parts.part_files import CommittedPart

LIGHT, HEAVY = ".light.parquet", ".heavy.parquet"

SCHEMAS = {
    "light": schema.LIGHT,
    "heavy": schema.HEAVY,
    "timings": schema.TIMINGS,
    "weights": schema.WEIGHTS,
    "reviews": schema.REVIEWS,
    "decisions": schema.DECISIONS,
    "measures": schema.MEASURES,
    "evaluation": schema.EVALUATION,
    "reliability": schema.RELIABILITY,
    "inputs": schema.INPUTS,
}
"""Every kind of Parquet file; apart from the first two, which lie in `labels`, a kind is its folder's name."""

KINDS = tuple(SCHEMAS)
_FACTS = {kind: SCHEMAS[kind] for kind in KINDS[2:]}

COMPACTED = {"labels": LIGHT, "timings": ".parquet", "measures": ".parquet", "inputs": ".parquet"}
"""Folders whose files a compaction joins, and how those files end."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=-]{0,199}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is left out of every answer, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class DataFiles:
    """The trusted files of a data set by kind, one of `KINDS`, and the problems.

    Attributes:
        parts: what each trusted file holds; a heavy file holds what its light one does.
        contents: hash that each of them was written with, or "".
        older: those that were written before `schema.LATER` was.
    """

    by_kind: dict[str, list[Path]]
    problems: tuple[Problem, ...]
    parts: dict[Path, tuple[CommittedPart, ...]]
    contents: dict[Path, str]
    older: frozenset[Path] = frozenset()


def as_error(problems: Sequence[Problem]) -> ShardError | None:
    """All problems as one error to show or raise; None where there are none."""
    if not problems:
        return None
    listed = "\n".join(f"  {problem}" for problem in problems)
    return ShardError(
        f"{len(problems)} file(s) of the data set cannot be used and are left out:\n{listed}\n"
        "Everything else can be queried. Move these files out of the data folder; label again to rebuild a part."
    )


def light_path(data: Path, recipe: str, part: str) -> Path:
    """The file whose existence commits the part."""
    return data / "labels" / name(recipe) / f"{name(part)}{LIGHT}"


def heavy_path(light: Path) -> Path:
    """The heavy file beside a light one."""
    return light.with_name(light.name.removesuffix(LIGHT) + HEAVY)


def name(text: str) -> str:
    """Return a name of a recipe, part, discriminator or reviewer if it can be a file's name.

    Raises:
        ConfigError: with the rule, where it cannot.
    """
    if not _NAME.fullmatch(text):
        raise ConfigError(
            f"a name has 1 to 200 characters of A-Z a-z 0-9 . _ @ + = - and starts alphanumeric, got {text!r}"
        )
    return text


def scan(data: Path) -> DataFiles:
    """Know the footer of every Parquet file and sort the usable from the torn, the foreign and the incomplete.

    Call it while `in_use` holds the folders of `COMPACTED`: then no file vanishes between the listing and the reading.

    Raises:
        ShardError: a folder of the data set cannot be listed, so that its contents are unknown.
    """
    by_kind: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    problems, parts, contents, older = [], {}, {}, set()
    footers = Footers(data, SCHEMAS)
    for name in sorted(_parquet_files(data), key=lambda name: name.split("/")):
        kind = _kind(name)
        try:
            why, footer = footers.of(name, partial(_inspect, data, name)) if kind else _FOREIGN
        except FileNotFoundError:
            continue
        path = data / name
        parts[path], contents[path] = footer.parts, footer.content
        if footer.older:
            older.add(path)
        if why:
            problems.append(Problem(Path(name), why))
        else:
            by_kind[kind].append(path)
    footers.keep()
    for kind in ("light", "timings", "measures", "inputs"):
        by_kind[kind] = _current(by_kind[kind], parts)
    by_kind, all_problems = _pair(data, by_kind, problems)
    trusted = {path: kind for kind, paths in by_kind.items() for path in paths}
    held = {path: parts[path] for path, kind in trusted.items() if kind != "heavy"}
    # Both files of a part are written with one hash.
    whole = dict(zip(by_kind["heavy"], by_kind["light"], strict=True))
    written = {path: contents[path if path in contents else whole[path]] for path in trusted}
    return DataFiles(by_kind, all_problems, held, written, frozenset(older))


def is_fact(path: PurePath) -> bool:
    """Whether a path within a data set is that of a Parquet file other than labels."""
    return len(path.parts) == 3 and path.suffix == ".parquet" and path.parts[0] in _FACTS


def _parquet_files(data: Path) -> Iterator[str]:
    """Those that lie in the folders of a data set, at any depth, and those that strayed beside them, relative to it."""
    _, _, beside = next(os.walk(data, onerror=_refuse), ("", [], []))
    yield from (name for name in beside if name.endswith(".parquet"))
    for folder in ("labels", *_FACTS):
        for below, _, names in os.walk(data / folder, onerror=_refuse):
            inside = os.path.relpath(below, data)
            yield from (f"{inside}/{name}" for name in names if name.endswith(".parquet"))


def _refuse(error: OSError) -> None:
    """A folder that is not there holds nothing; one that cannot be listed may hold anything."""
    if not isinstance(error, FileNotFoundError):
        raise ShardError(
            f"'{error.filename}' cannot be listed ({error.strerror}), so what it holds is not known; "
            "give yourself the right to read it, or move away what takes the place of the folder"
        ) from error


def _current(paths: list[Path], parts: dict[Path, tuple[CommittedPart, ...]]) -> list[Path]:
    """Those files of a kind that no compacted file has superseded."""
    gone: set[Path] = set()
    for _, in_folder in groupby(paths, key=lambda path: path.parent):
        gone |= part_files.superseded({path: parts[path] for path in in_folder})
    return [path for path in paths if path not in gone]


_FOREIGN = ("foreign: no file of a data set lies here", Footer())


def _inspect(data: Path, name: str) -> tuple[str, Footer]:
    """(why a file cannot be used or "", what its footer says)."""
    kind = _kind(name)
    expected = SCHEMAS[kind]
    try:
        footer = pq.read_metadata(data / name)
        found = footer.schema.to_arrow_schema()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        return f"torn or not Parquet: {str(error).splitlines()[0]}", Footer()
    stem = re.sub(r"(\.light|\.heavy)?\.parquet$", "", name.rpartition("/")[2])
    parts = () if kind == "heavy" else part_files.parts_of(stem, footer.num_rows, footer.metadata)
    content = (footer.metadata or {}).get(CONTENT, b"").decode()
    return schema.mismatch(found, expected), Footer(content, parts, len(found) < len(expected))


def _kind(name: str) -> str:
    """The kind of a file, by where it lies; "" for none."""
    folder, *inside = name.split("/")
    if len(inside) != 2:
        return ""
    if folder != "labels":
        return folder if folder in _FACTS else ""
    return next((kind for kind, suffix in (("light", LIGHT), ("heavy", HEAVY)) if name.endswith(suffix)), "")


def _pair(
    data: Path, by_kind: dict[str, list[Path]], problems: list[Problem]
) -> tuple[dict[str, list[Path]], tuple[Problem, ...]]:
    """Keep only whole label parts; a heavy file without a light one is a part that is not committed yet."""
    listed = set(by_kind["heavy"])
    # A part that was committed while its folder was listed may show its light file only: look again.
    heavies = {path: heavy_path(path) for path in by_kind["light"]}
    whole = [path for path, heavy in heavies.items() if heavy in listed or _usable(data, heavy)]
    for path in heavies.keys() - set(whole):
        problems.append(Problem(path.relative_to(data), f"incomplete: '{heavies[path].name}' is missing or unusable"))
    paired = {"light": whole, "heavy": [heavies[path] for path in whole]}
    return by_kind | paired, tuple(sorted(problems, key=str))


def _usable(data: Path, path: Path) -> bool:
    return path.exists() and not _inspect(data, path.relative_to(data).as_posix())[0]
