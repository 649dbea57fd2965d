"""Files that a manifest points to: read inside their root, or refused with a reason.

A reference is one of

- a path relative to the root, `coco/train2017/1.jpg`, which may not leave it;
- a member of an archive below the root, in fsspec's words: `zip://train2017/1.jpg::coco/train2017.zip`, or `tar://`. It
  is read in place, never extracted; a tar must not be compressed, since one cannot jump in it;
- a frame of a video below the root, by its number from 0: `video://17::episodes/0.mp4`. It is decoded when it is read,
  and comes as a JPEG of quality 95 with full chroma;
- an `http://` or `https://` URL, only where the reader was given a `Fetcher`.

A name that is written another way than the file system writes it is found too, see `ivm_data.sources.near_names`.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from PIL import Image

from ivm_data.sources.fetch import Fetcher, is_url
from ivm_data.sources.near_names import Names, near_path, spellings
from storage.errors import InputError, TransientError

_MEMBER = re.compile(r"(zip|tar|video)://(.+)::(.+)", re.DOTALL)
JPEG_QUALITY = 95
"""Of a video's frame, which was compressed before."""
_TORN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError)
"""What the formats' readers raise; RuntimeError stands for an encrypted member and an unknown compression."""


class ImageFiles:
    """The files below a root, for as long as one part is read: archives stay open. A context manager."""

    def __init__(self, root: Path, fetcher: Fetcher | None = None) -> None:
        self.root, self.fetcher = root, fetcher
        self._archives: dict[tuple[str, str], _Archive] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for archive in self._archives.values():
            archive.close()

    def prepare(self, references: Iterable[str], max_bytes: int) -> None:
        """Fetch the URLs among the references at once, so that `read` finds them.

        Raises:
            TransientError: none of many could be fetched.
        """
        if self.fetcher:
            self.fetcher.fetch_all([reference for reference in references if is_url(reference)], max_bytes)

    def read(self, reference: str, max_bytes: int) -> bytes:
        """The bytes behind a reference.

        Raises:
            InputError: `image_outside_root`, `image_missing`, `image_not_fetched`, `image_too_large` (over `max_bytes`)
                or `image_unreadable`.
            TransientError: the file system failed while reading.
        """
        if is_url(reference):
            if self.fetcher is None:
                raise InputError("image_not_fetched", f"'{reference}' is a URL; let URLs be fetched with --fetch")
            return self.fetcher.fetch(reference, max_bytes)
        if member := _MEMBER.fullmatch(reference):
            kind, name, path = member.groups()
            with _explained(reference, self.root):
                return self._archive(kind, path).read(name, max_bytes)
        return read_inside(self.root, reference, max_bytes)

    def _archive(self, kind: str, path: str) -> _Archive:
        if (kind, path) not in self._archives:
            self._archives[kind, path] = _ARCHIVES[kind](path, _resolve(self.root, path))
        return self._archives[kind, path]


class _Zip:
    """An open zip. What a member unpacks to is known before it is: zipfile reads no more than the directory says."""

    def __init__(self, name: str, path: Path) -> None:
        self._file = zipfile.ZipFile(path)
        self._names = Names(name, self._file.NameToInfo)

    def read(self, member: str, max_bytes: int) -> bytes:
        found = self._names.find(member)
        _check_size(self._file.getinfo(found).file_size, member, max_bytes)
        return self._file.read(found)

    def close(self) -> None:
        self._file.close()


class _Tar:
    """An open tar; its headers are read once, when it is opened."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._file = name, tarfile.open(path, "r:")  # noqa: SIM115 - closed with the part
        self._members = {member.name.removeprefix("./"): member for member in self._file}
        self._names = Names(name, self._members)

    def read(self, member: str, max_bytes: int) -> bytes:
        found = self._members[self._names.find(member.removeprefix("./"))]
        data = self._file.extractfile(found) if found.isreg() else None  # a link could lead anywhere
        if data is None:
            raise InputError("image_missing", f"'{member}' is no file in '{self.name}'")
        _check_size(found.size, member, max_bytes)
        return data.read()

    def close(self) -> None:
        self._file.close()


class _Video:
    """An open video; frames that are asked for in order are decoded once."""

    def __init__(self, name: str, path: Path) -> None:
        # Imported here: FFmpeg is for manifests with videos alone.
        from storage.pixels.video import Video

        self.name, self._video = name, Video(path)

    def read(self, member: str, max_bytes: int) -> bytes:
        if not member.isdecimal():
            raise InputError("image_missing", f"'{member}' is no number of a frame of '{self.name}', counted from 0")
        encoded = io.BytesIO()
        image = Image.fromarray(self._video.frame(int(member)))
        image.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        _check_size(encoded.tell(), f"frame {member}", max_bytes)
        return encoded.getvalue()

    def close(self) -> None:
        self._video.close()


_Archive = _Zip | _Tar | _Video
_ARCHIVES: dict[str, type[_Archive]] = {"zip": _Zip, "tar": _Tar, "video": _Video}


def read_inside(root: Path, reference: str, max_bytes: int) -> bytes:
    """Read the regular file at `reference`, a relative path that may not leave `root`, not even through a symlink.

    Raises:
        InputError: `image_outside_root`, `image_missing`, `image_too_large` (over `max_bytes`) or `image_unreadable`.
        TransientError: the file system failed while reading.
    """
    path = _resolve(root, reference)
    with _explained(reference, root):
        _check_size(path.stat().st_size, reference, max_bytes)
        return path.read_bytes()


def moved(reference: str, folder: str) -> str:
    """The reference as seen from a root that holds its own root as `folder`; a URL stays as it is."""
    if is_url(reference) or not folder:
        return reference
    if member := _MEMBER.fullmatch(reference):
        kind, name, path = member.groups()
        return f"{kind}://{name}::{folder}/{path}"
    return f"{folder}/{reference}"


def _check_size(size: int, reference: str, max_bytes: int) -> None:
    if size > max_bytes:
        raise InputError("image_too_large", f"'{reference}' has {size} bytes, at most {max_bytes} are read")


@contextmanager
def _explained(reference: str, root: Path) -> Iterator[None]:
    """What the file system and the archive formats raise, in the engine's words."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError("image_unreadable", f"'{reference}': permission denied") from error
    except _TORN as error:
        raise InputError("image_unreadable", f"'{reference}': {error}; a tar must not be compressed") from error
    except OSError as error:
        raise TransientError(f"'{reference}' under '{root}' could not be read: {error}; try again") from error


def _resolve(root: Path, reference: str) -> Path:
    """The file that a reference means: the one of that very name, or else of another spelling of it.

    Raises:
        InputError: `image_outside_root`, or `image_missing` with the nearest name that is there.
    """
    found = _inside(root, reference)
    for spelling in () if found else spellings(reference):
        try:
            found = found or _inside(root, spelling)
        except InputError:  # decoded it leads out of the root, which the reference as it is does not
            continue
    if found:
        return found
    near = near_path(root, reference)
    hint = f"; '{near}' is there, correct the name or rename the file" if near else ""
    raise InputError("image_missing", f"'{reference[:200]}' is not a file under the root{hint}")


def _inside(root: Path, reference: str) -> Path | None:
    """The regular file of that name below the root; None where there is none."""
    parts = PurePosixPath(reference)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError("image_outside_root", f"'{reference}' must be a relative path without '..'")
    try:
        path = (root / reference).resolve()
        if not path.is_relative_to(root.resolve()):
            raise InputError("image_outside_root", f"'{reference}' is a link out of the root")
        return path if path.is_file() else None
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, a NUL
        raise InputError("image_missing", f"'{reference[:200]}': {error}") from error
