"""Files that a manifest points to: read inside their root, or refused with a reason."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from storage.errors import InputError, TransientError


def read_inside(root: Path, reference: str, max_bytes: int) -> bytes:
    """Read the regular file at `reference`, a relative path that may not leave `root`, not even through a symlink.

    Raises:
        InputError: `image_outside_root`, `image_missing`, `image_too_large` (over `max_bytes`) or `image_unreadable`.
        TransientError: the file system failed while reading.
    """
    path = _resolve(root, reference)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError("image_too_large", f"'{reference}' has {size} bytes, at most {max_bytes} are read")
        return path.read_bytes()
    except PermissionError as error:
        raise InputError("image_unreadable", f"'{reference}': permission denied") from error
    except OSError as error:
        raise TransientError(f"'{reference}' under '{root}' could not be read: {error}; try again") from error


def _resolve(root: Path, reference: str) -> Path:
    parts = PurePosixPath(reference)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError("image_outside_root", f"'{reference}' must be a relative path without '..'")
    try:
        path = (root / reference).resolve()
        if not path.is_relative_to(root.resolve()):
            raise InputError("image_outside_root", f"'{reference}' is a link out of the root")
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, or a loop of links
        raise InputError("image_missing", f"'{reference[:200]}': {error}") from error
    if not is_file:
        raise InputError("image_missing", f"'{reference}' is not a file under the root")
    return path
