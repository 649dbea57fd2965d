"""Files and folders that appear whole or not at all, with several writers at once and whenever one is killed.

A writer fills `.<name>.<8 hex digits>.ivm-tmp` beside the target, whose rights follow the umask, syncs it and renames
it. A folder that has the name already is first moved aside, to `.<name>.<8 hex digits>.ivm-old`. A writer holds the
`flock` of both, which the kernel releases when a process dies: so what can be locked is the remains of a killed writer.
The next writer in that folder clears it away, or gives it its name back where the killed one had just moved it aside.
Of several writers of one target the last one wins.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.disk.locks import claim, release, unclaimed
from storage.errors import DiskError

_TMP, _OLD = ".ivm-tmp", ".ivm-old"
_LEFT = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{8}}({_TMP}|{_OLD})")
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


@contextmanager
def whole_file(path: Path, *, swept: bool = False) -> Iterator[Path]:
    """A hidden file to write into, which gets its name when the block ends well; a file of that name is replaced.

    A link is followed. What is no file, such as `/dev/stdout`, is given as it is.

    Args:
        swept: the folder is known to hold no remains.

    Raises:
        DiskError: a full disk, no right to write, or a folder that has the name.
    """
    if _is_stream(path):
        yield path
        return
    path = Path(os.path.realpath(path))
    with written(path):
        make_folder(path.parent)
        if not swept:
            sweep(path.parent)
        with _hidden(path, lambda hidden: hidden.touch(exist_ok=False)) as hidden:
            rights = stat.S_IMODE(hidden.stat().st_mode)
            yield hidden
            _set_rights(hidden, rights)
            adopt(path, hidden)


@contextmanager
def whole_folder(path: Path, keep: Iterable[str] = (), *, replace: bool = True) -> Iterator[Path]:
    """An empty hidden folder to write into, which gets its name when the block ends well.

    A folder of that name is replaced, with all that it holds: ask `storage.outputs` first whether it may be.

    Args:
        keep: names in the folder that is replaced that are carried over, where they are there.
        replace: False where any writer writes the same: then the first one stays.

    Raises:
        DiskError: a full disk, no right to write, or a file that has the name.
    """
    path = Path(os.path.realpath(path))
    with written(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        make_folder(path.parent)
        sweep(path.parent)
        with _hidden(path, Path.mkdir) as hidden:
            yield hidden
            for name in keep:
                _carry(path / name, hidden / name)
            _settle(hidden)
            _take_place(path, hidden, replace)


def write_text(path: Path, text: str, *, swept: bool = False) -> Path:
    """Write a text file, UTF-8, whole or not at all; see `whole_file`."""
    with whole_file(path, swept=swept) as hidden:
        hidden.write_text(text, encoding="utf-8")
    return path


def adopt(path: Path, whole: Path) -> None:
    """Give a file that lies whole on the same disk its name."""
    sync(whole)
    os.replace(whole, path)
    sync(path.parent)


def sweep(folder: Path) -> int:
    """Clear what killed writers left in a folder; what living ones are writing stays.

    Returns:
        The number of names in the folder.
    """
    seen = os.listdir(folder)
    found = [(folder / one, left["name"]) for one in seen if (left := _LEFT.fullmatch(one))]
    for remains, name in found:
        with unclaimed(remains) as free, suppress(OSError):  # Another user's remains are theirs to clear away.
            if free and remains.name.endswith(_OLD) and not (folder / name).exists():
                os.rename(remains, folder / name)
            elif free:
                _remove(remains)
    return len(seen)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, so that they are on disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Errors of the disk in the block, which writes `path`, in words; errors about other files stay what they are.

    Raises:
        DiskError: the disk refused.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        if error.errno in DiskError.OF_THE_DISK or _is_about(path, str(error.filename)):
            raise DiskError(path, error) from error
        raise


@contextmanager
def _hidden(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new hidden file or folder, claimed while the block runs; it goes away unless the block gives it a name."""
    while True:
        hidden = _beside(path, _TMP)
        make(hidden)
        # Another writer may take it for remains before it is claimed; then make another one.
        with suppress(FileNotFoundError):
            handle = claim(hidden)
            break
    try:
        yield hidden
    finally:
        _remove(hidden)
        release(handle)


def _take_place(path: Path, whole: Path, replace: bool) -> None:
    """Rename a folder to `path`; the one that has the name is moved aside and removed, or stays."""
    while replace or not path.exists():
        with _aside(path):
            try:
                os.rename(whole, path)
            except OSError as error:
                if error.errno in _NOT_EMPTY:  # Another writer was quicker: replace what it wrote.
                    continue
                raise
            sync(path.parent)
            return


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """Move the folder of that name, if there is one, out of the way, and remove it when the block ends."""
    try:
        handle = claim(path)
    except FileNotFoundError:
        yield
        return
    old, gone = _beside(path, _OLD), _beside(path, _TMP)
    try:
        os.rename(path, old)
        try:
            yield
        except BaseException:
            os.rename(old, path)
            raise
        os.rename(old, gone)  # From here on it is never given its name back.
        _remove(gone)
    finally:
        release(handle)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")


def _is_about(path: Path, name: str) -> bool:
    """Whether an error's file name is that of the target, of a hidden one beside it, or of one above or below it."""
    seen = Path(name)
    return (
        name.startswith(f"{path.parent}/.{path.name}.") or seen == path or seen in path.parents or path in seen.parents
    )


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _carry(old: Path, new: Path) -> None:
    if old.is_dir():
        shutil.copytree(old, new)
    elif old.is_file():
        shutil.copy2(old, new)


def _settle(folder: Path) -> None:
    """Give all below a folder the rights that the folder was made with, and wait until it is on disk."""
    rights = stat.S_IMODE(folder.stat().st_mode)
    for below, _, names in os.walk(folder, topdown=False):
        for path in (Path(below, name) for name in names):
            _set_rights(path, rights & 0o666)
            sync(path)
        _set_rights(Path(below), rights)
        sync(Path(below))


def _set_rights(path: Path, rights: int) -> None:
    """Some libraries make files of their own that only their owner may read."""
    if stat.S_IMODE(path.stat().st_mode) != rights:
        path.chmod(rights)
