"""How the owner of a data set calls an image -> how our manifest does."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from ivm_data.sources.fetch import is_url


def image_path(folder: str, name: str) -> str:
    """`name` in a folder relative to the image root; "" and "." are the root itself, and a URL stays as it is.

    The folder may lie in an archive: `zip://train2017::coco/train2017.zip`, or `zip://::images.zip` for its top.

    Raises:
        ValueError: a name that is no text, or empty.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of an image must be text, got {name!r:.60}")
    if is_url(name):
        return name
    if "::" in folder:
        inside, archive = folder.split("::", 1)
        return f"{inside if inside.endswith('/') else inside + '/'}{name}::{archive}"
    return name if folder in ("", ".") else f"{folder.rstrip('/')}/{name}"


def end_of_url(url: str, parts: int = 1) -> str:
    """The last parts of a URL's path, decoded: `val2017/1.jpg`.

    Raises:
        ValueError: it has no path.
    """
    found = [part for part in PurePosixPath(unquote(urlsplit(url).path)).parts if part != "/"][-parts:]
    if not found:
        raise ValueError(f"the URL {url!r:.80} names no file")
    return "/".join(found)


def inside(folder: str, reference: str) -> str:
    """A path written beside a file in `folder`, as seen from the top; only its name where it would leave the top.

    Args:
        folder: of the file that holds the reference, relative to the top; "" is the top.
        reference: with the separators of any system.
    """
    windows = PureWindowsPath(reference)
    plain = reference.replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(folder, plain))
    if windows.drive or windows.root or plain.startswith("/") or joined.startswith(".."):
        return windows.name
    return joined


class Claims:
    """Names that images get, and by what they were called before: two images must not get one name."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._rivals: dict[str, str] = {}

    def add(self, name: str, reference: str) -> None:
        """An image that was called `reference` gets a name."""
        if self._first.setdefault(name, reference) != reference:
            self._rivals.setdefault(name, reference)

    def check(self, name: str, way_out: str) -> None:
        """Raise ValueError where several images get this name."""
        if name in self._rivals:
            raise ValueError(
                f"two images would be called {name!r}: {self._first[name]!r:.80} and {self._rivals[name]!r:.80}; "
                f"{way_out}"
            )
