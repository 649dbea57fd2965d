"""Records that say something of one image and instruction: which one counts, and which contradict each other.

- Records with equal labels are one: the first counts, the others are duplicates. A held-out one comes before the
  others, so that a mask that only scores never trains through its twin.
- A record without a label gives way to one that has a label.
- Where labels differ nobody knows which is right: all of these records are conflicts, and none counts. An unlabeled
  held-out record beside a labeled one that may train is such a conflict too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

UNLABELED = 0
"""Hash of a record that says nothing of its targets."""

_TARGET_KEYS = (
    "mask_rle",
    "polygons",
    "mask",
    "box",
    "frame",
    "size",
    "swap",
    "resize",
    "threshold",
    "index",
    "ignore",
)


class Identity(NamedTuple):
    """What a record is about, and what it says.

    Attributes:
        key: of image and instruction.
        label: hash of its targets, `UNLABELED` for none.
        recording: the camera of the episode that it is of, or b"".
    """

    key: bytes
    label: int = UNLABELED
    held_out: bool = False
    recording: bytes = b""


@dataclass(frozen=True)
class Verdicts:
    """(N,) bool each: records that repeat another one which counts, and records that contradict each other."""

    duplicate_N: np.ndarray
    conflict_N: np.ndarray


def pair_key(image: str, instruction: str) -> bytes:
    """What makes a pair unique in a manifest; the instruction as `manifest_rows.tidy_instruction` gives it."""
    return f"{image}\x00{instruction}".encode("utf-8", "surrogatepass")


def short_hash(key: bytes) -> int:
    """8 bytes of a hash, never 0. Among a million different keys two collide with probability 3e-8."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) or 1


def label_hash(targets: Any, mask: Any, ignore: Any = None) -> int:
    """Hash of what a record's `targets`, `mask` and `ignore` say, whatever their order and their other keys."""
    if targets is None and mask is None:
        return UNLABELED
    given = [*targets] if isinstance(targets, list | tuple) else [targets] * (targets is not None)
    if mask is not None:
        given.append({"mask" if isinstance(mask, str) else "mask_rle": mask})
    parts = [b"\x00".join(sorted({_target(target) for target in given}))]
    if ignore:
        parts += sorted(map(_target, ignore if isinstance(ignore, list | tuple) else [ignore]))
    return short_hash(b"\x01".join(parts))


def settle(key_N: np.ndarray, label_N: np.ndarray, held_out_N: np.ndarray) -> Verdicts:
    """Which records of a list count.

    Args:
        key_N: uint64, 0 for a record that is about nothing.
        label_N: uint64, as `label_hash` gives it.
        held_out_N: bool.
    """
    duplicate_N, conflict_N = np.zeros(len(key_N), bool), np.zeros(len(key_N), bool)
    order_N = np.argsort(key_N, kind="stable")
    starts_M = np.flatnonzero(np.diff(key_N[order_N], prepend=np.uint64(0)))  # 0, which is about nothing, starts none
    stops_M = np.append(starts_M[1:], len(key_N))
    several_M = stops_M - starts_M > 1
    for start, stop in zip(starts_M[several_M].tolist(), stops_M[several_M].tolist(), strict=True):
        group = order_N[start:stop]
        winner = _winner(label_N[group], held_out_N[group])
        if winner is None:
            conflict_N[group] = True
        else:
            duplicate_N[group] = True
            duplicate_N[group[winner]] = False
    return Verdicts(duplicate_N, conflict_N)


def _winner(label_G: np.ndarray, held_out_G: np.ndarray) -> int | None:
    """Position of the record that counts among those of one key; None where they contradict each other."""
    labeled_G = label_G != UNLABELED
    if len(np.unique(label_G[labeled_G])) > 1:
        return None
    candidate_G = labeled_G if labeled_G.any() else np.ones(len(label_G), bool)
    if held_out_G.any():
        candidate_G = candidate_G & held_out_G
    return int(np.argmax(candidate_G)) if candidate_G.any() else None


def _target(value: Any) -> bytes:
    """Of a target only the keys that are read count."""
    known = {key: value[key] for key in _TARGET_KEYS if key in value} if isinstance(value, Mapping) else value
    return _canonical(known)


def _canonical(value: Any) -> bytes:
    """Equal bytes for equal JSON values; 1 is 1.0."""
    if isinstance(value, Mapping):
        return b"{" + b",".join(f"{key}:".encode() + _canonical(value[key]) for key in sorted(value, key=str)) + b"}"
    if isinstance(value, bool | str) or value is None:
        return json.dumps(value).encode()
    if isinstance(value, list | tuple):
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            return b"[" + b",".join(map(_canonical, value)) + b"]"
        return f"{numbers.shape}".encode() + numbers.tobytes()
    try:
        return np.float64(value).tobytes()
    except (TypeError, ValueError, OverflowError):
        return str(value).encode("utf-8", "replace")
