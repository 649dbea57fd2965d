"""What is opened below a folder, as the kernel tells it: also what Arrow and DuckDB open."""

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_ACCESS, _CLOSED, _OPEN, _FOLDER = 0x1, 0x18, 0x20, 0x40000000
_HEADER = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Opened:
    """Counts, complete when the block of `watched` has ended.

    Attributes:
        files: file -> times that it was opened to be read or written.
        folders: folder -> times that its names were listed.
    """

    files: Counter[Path] = field(default_factory=Counter)
    folders: Counter[Path] = field(default_factory=Counter)

    def of(self, suffix: str) -> int:
        """Times that files whose names end so were opened."""
        return sum(times for path, times in self.files.items() if path.name.endswith(suffix))


@contextmanager
def watched(root: Path) -> Iterator[Opened]:
    """Count what is opened while the block runs, by any process, in the folders that are below `root` by now."""
    handle = _LIBC.inotify_init1(os.O_NONBLOCK)
    assert handle >= 0, os.strerror(ctypes.get_errno())
    seen = Opened()
    try:
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        numbers = {_LIBC.inotify_add_watch(handle, os.fsencode(one), _ACCESS | _CLOSED | _OPEN): one for one in folders}
        yield seen
        _count(handle, numbers, seen)
    finally:
        os.close(handle)


def _count(handle: int, folders: dict[int, Path], seen: Opened) -> None:
    """Read all events. A listing is the first `_ACCESS` of a folder after its `_OPEN`: a lock opens it without one."""
    opened: set[int] = set()
    with suppress(BlockingIOError):
        while events := os.read(handle, 1 << 20):
            at = 0
            while at < len(events):
                number, mask, _, length = _HEADER.unpack_from(events, at)
                assert number >= 0, "more happened than the kernel keeps"
                name = events[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\x00")
                at += _HEADER.size + length
                if not mask & _FOLDER and mask & _OPEN:
                    seen.files[folders[number] / os.fsdecode(name)] += 1
                elif mask & _FOLDER and mask & _OPEN and not name:
                    opened.add(number)
                elif mask & _FOLDER and mask & _ACCESS and number in opened:
                    opened.discard(number)
                    seen.folders[folders[number]] += 1
