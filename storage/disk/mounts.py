"""On what kind of file system a path lies."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|"
    r"fuse\.(sshfs|s3fs|glusterfs|juicefs|gcsfuse|mount-s3|goofys|rclone|ceph)"
)


def is_on_network(path: Path) -> bool:
    """Whether a path, which need not exist, lies on a network file system; of an unknown system no."""
    real = os.path.realpath(path)
    kinds = {where: kind for where, kind in _mounts() if os.path.commonpath([where, real]) == where}
    return bool(kinds) and _NETWORK.fullmatch(kinds[max(kinds, key=len)]) is not None


def _mounts() -> list[tuple[str, str]]:
    """(folder, kind of file system) of every mount, the later one of two at a folder last."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(" ") for line in lines)
    return [(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), row[1]), row[2]) for row in fields]
