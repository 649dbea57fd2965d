"""A data set in an object store (`s3://`, `gs://`): what is committed here is sent there, and fetched from there.

There is no rename in an object store, but a write is atomic, and a conditional one (`If-None-Match: *`) fails where the
object exists. So the law is that of the disk: nothing is overwritten, the heavy file goes first, the light file last,
and the light file is the commit. Credentials and endpoints are the store's own variables, such as AWS_ENDPOINT_URL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.common.extras import extra
from storage.data_set import DataSet
from storage.errors import ConfigError, IvmError, ShardError, TransientError
from storage.parts import layout, part_files
from storage.parts.files import CONTENT, alone_in, replace

SCHEMES = ("s3", "gs")
"""Stores whose client can write conditionally."""

_JSON = ("recipes", "snapshots")
_UNHASHED = ("timings", "measures", "inputs", "snapshots")
"""Folders whose files say nothing that labels depend on; the first one there stays."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Files and bytes that were moved, and files that were there already."""

    moved: int
    size: int
    skipped: int


@dataclass(frozen=True)
class _Store:
    """One folder of a bucket; names are relative to it."""

    url: str
    filesystem: Any
    root: str

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def sizes(self, below: str = "") -> dict[str, int]:
        """Name -> bytes of everything there, or of one folder; never from a cache."""
        self.filesystem.invalidate_cache()
        folder = self.path(below).rstrip("/")
        found = self.filesystem.find(folder, detail=True)
        return {name.removeprefix(f"{self.root}/"): info["size"] for name, info in found.items()}


def push(data: Path, url: str) -> Transfer:
    """Send everything that a store lacks; killed at any moment and run again, it goes on where it stopped.

    Raises:
        ConfigError: an URL or bucket that cannot be used.
        ShardError: the store holds a part with other contents, or a file here is torn.
        TransientError: the store does not answer.
    """
    with _explained(url):
        store = _open(url)
        there = store.sizes()
        with DataSet.open(data) as opened:
            return _each(_to_send(opened), lambda name: _send(store, data, name, there))


def push_part(data: Path, url: str, light: Path) -> None:
    """Send one committed part, without asking what else is there; see `push`."""
    beside = [
        data / kind / light.parent.name / light.name.replace(layout.LIGHT, ".parquet") for kind in ("inputs", "timings")
    ]
    with _explained(url):
        store = _open(url)
        for path in (*beside, layout.heavy_path(light), light):
            if path.exists():
                _send(store, data, path.relative_to(data).as_posix(), {})


def pull(url: str, data: Path) -> Transfer:
    """Fetch everything committed that is not here yet, each file whole or not at all; see `push` for the errors."""
    with _explained(url):
        store = _open(url)
        there = store.sizes()
        return _each(_to_fetch(there), lambda name: _fetch(store, data, name, there[name]))


def committed(url: str, recipe: str) -> set[str]:
    """Names of a recipe's parts that are committed in a store; see `push` for the errors."""
    with _explained(url):
        store = _open(url)
        files = store.sizes(f"labels/{layout.name(recipe)}")
        return {part for name in files if name.endswith(layout.LIGHT) for part in _parts(store, name)}


def taken_in(url: str, recipe: str, parts: Collection[str]) -> set[bytes]:
    """Hashes of the records that some of a recipe's parts in a store have taken in; see `push` for the errors."""
    with _explained(url):
        store = _open(url)
        names = {name: PurePosixPath(name).stem for name in store.sizes(f"inputs/{layout.name(recipe)}")}
        wanted = [name for name, stem in names.items() if stem in parts or part_files.is_compacted(stem)]
        files = store.filesystem.cat([store.path(name) for name in wanted]) if wanted else {}
    among = pc.field("part").isin(pa.array(sorted(parts), pa.string()))
    tables = [pq.read_table(pa.BufferReader(file), columns=["record"], filters=among) for file in files.values()]
    return {record for table in tables for record in table["record"].to_pylist()}


def _open(url: str) -> _Store:
    from fsspec.core import url_to_fs

    scheme, mark, path = url.partition("://")
    if not mark or scheme not in SCHEMES or not path.strip("/"):
        raise ConfigError(f"an object store's URL looks like s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, got {url!r}")
    try:
        filesystem, root = url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{scheme}:// needs a package that is not installed ({error}); install it") from error
    return _Store(url, filesystem, root.rstrip("/"))


def _to_send(data: DataSet) -> Iterator[str]:
    """Names in the order in which they may be seen: what labels rest on, each part's heavy file before its light one.

    Gates come after the labels, each before the entry of a log that names it; snapshots last: they list the others.
    """
    if error := layout.as_error(data.problems):
        raise error
    facts = [path for kind, paths in data.by_kind.items() if kind not in ("light", "heavy") for path in paths]
    labels = [path for light in data.by_kind["light"] for path in (layout.heavy_path(light), light)]
    before, after = (sorted((data.folder / folder).glob("*.json")) for folder in _JSON)
    gates = sorted((data.folder / "gates").glob("*/*.json")) + sorted((data.folder / "gates").glob("*/log/*.json"))
    for path in (*before, *facts, *labels, *gates, *after):
        yield path.relative_to(data.folder).as_posix()


def _to_fetch(there: Mapping[str, int]) -> Iterator[str]:
    """In the same order; a heavy file without a light one is a part that is not committed."""
    lights = sorted(name for name in there if name.startswith("labels/") and name.endswith(layout.LIGHT))
    labels = [name for light in lights for name in (_heavy(light), light)]
    facts = sorted(name for name in there if layout.is_fact(PurePosixPath(name)))
    before, after = (sorted(n for n in there if n.startswith(f"{folder}/") and n.endswith(".json")) for folder in _JSON)
    gates = sorted((n for n in there if _is_gate(n)), key=lambda name: (name.count("/"), name))
    if torn := [name for name in labels if name not in there]:
        raise ShardError(f"{torn[0]!r} is missing in the store although its part is committed; push it again")
    yield from (*before, *facts, *labels, *gates, *after)


def _is_gate(name: str) -> bool:
    """A gate, or an entry of a log of gates; an entry comes after the gate that it names."""
    return PurePosixPath(name).match("gates/*/*.json") or PurePosixPath(name).match("gates/*/log/*.json")


def _each(names: Iterator[str], move: Callable[[str], int | None]) -> Transfer:
    sizes = [move(name) for name in names]
    moved = [size for size in sizes if size is not None]
    return Transfer(len(moved), sum(moved), len(sizes) - len(moved))


def _send(store: _Store, data: Path, name: str, there: Mapping[str, int]) -> int | None:
    """Bytes sent; None where the store has the file. Equal sizes count as equal, others are looked into."""
    path = data / name
    if there.get(name) == path.stat().st_size:
        return None
    if name not in there:
        try:
            store.filesystem.put_file(str(path), store.path(name), mode="create")
            return path.stat().st_size
        except FileExistsError:
            pass
    _check_same(store, path, name)
    return None


def _fetch(store: _Store, data: Path, name: str, size: int) -> int | None:
    path = data / name
    with alone_in(path.parent):
        if path.exists():
            if path.stat().st_size != size:
                _check_same(store, path, name)
            return None
        replace(path, lambda hidden: store.filesystem.get_file(store.path(name), str(hidden)))
        if part_files.is_compacted(path.name.removesuffix(".parquet").removesuffix(".light")):
            part_files.announce(path.parent)
    return size


def _check_same(store: _Store, path: Path, name: str) -> None:
    if name.split("/", 1)[0] in _UNHASHED:
        return
    if name.endswith(".json"):
        here, far = path.read_bytes().hex(), store.filesystem.cat_file(store.path(name)).hex()
    else:
        here, far = (_content(pq.read_schema(path).metadata), _content(_footer(store, name).metadata))
    if here != far:
        raise ShardError(
            f"'{store.url}/{name}' holds other contents than '{path}' (hash {far[:32] or 'none'}, here "
            f"{here[:32] or 'none'}): one of the two was labeled on another kind of machine; remove the one here, or "
            "that of the store where its part has no light file there"
        )


def _content(metadata: Mapping[bytes, bytes] | None) -> str:
    return (metadata or {}).get(CONTENT, b"").decode()


def _parts(store: _Store, light: str) -> list[str]:
    """The parts of a light file of the store; only a compacted one is opened for that."""
    name = PurePosixPath(light).name.removesuffix(layout.LIGHT)
    if not part_files.is_compacted(name):
        return [name]
    footer = _footer(store, light)
    return [part.name for part in part_files.parts_of(name, footer.num_rows, footer.metadata)]


def _footer(store: _Store, name: str) -> pq.FileMetaData:
    with store.filesystem.open(store.path(name), "rb") as file:
        return pq.read_metadata(file)


def _heavy(light: str) -> str:
    return light.removesuffix(layout.LIGHT) + layout.HEAVY


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """A store's errors as the engine's."""
    with extra("remote"):
        from botocore.exceptions import BotoCoreError, NoCredentialsError

    try:
        yield
    except IvmError:
        raise
    except (FileNotFoundError, PermissionError, NoCredentialsError) as error:
        raise ConfigError(f"'{url}' cannot be used ({error}); check bucket, endpoint and credentials") from error
    except (OSError, BotoCoreError) as error:
        raise TransientError(f"'{url}' does not answer ({type(error).__name__}: {error}); try again later") from error
