"""Robot episodes as folders of frames: BridgeData V2 (Walke et al. 2023) as published, and exports of Open X."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from storage.common.validation import Checked, Count

_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class RobotFramesConfig(Checked):
    """Which folder, and how an episode lies in it.

    Attributes:
        folder: folder that holds the episodes, at any depth.
        images: the same folder, relative to the image root.
        language: file that makes a folder an episode: text whose first line is the instruction, as Bridge's lang.txt,
            or JSON with `language_instruction` or `natural_language_instruction`.
        frames: folder of an episode's frames; "" for the episode's own.
        every: each so many-th frame is taken, from the first.
    """

    folder: str
    images: str = ""
    language: str = "lang.txt"
    frames: str = "images0"
    every: Count = 10


def read_robot_frames(config: RobotFramesConfig) -> Iterator[Record]:
    """Robot frames: an episode's language is the instruction of every k-th frame; nothing is labeled.

    Reads: lang.txt, images0/im_*.jpg
    """
    root = existing(config.folder, "folder", folder=True)
    for path in sorted(root.rglob(config.language)):
        episode = path.parent.relative_to(root)
        yield from checked(f"{(episode / path.name).as_posix()}", _pairs, path, episode, config)


def _pairs(path: Path, episode: Path, config: RobotFramesConfig) -> Iterator[ForeignPair]:
    """An episode whose language was left blank asks for nothing."""
    instruction = _language(path)
    if not instruction:
        return
    folder = path.parent / config.frames
    names = [entry.name for entry in folder.iterdir() if entry.suffix.lower() in _SUFFIXES] if folder.is_dir() else []
    if not names:
        raise ValueError(f"no frames in '{config.frames}'")
    for name in sorted(names, key=_by_number)[:: config.every]:
        frame = (episode / config.frames / name).as_posix()
        yield ForeignPair(image_path(config.images, frame), instruction, kind="robot")


def _language(path: Path) -> str:
    text = path.read_bytes().decode()
    if path.suffix == ".json":
        instruction: str = language(json.loads(text))
        return instruction
    return text.partition("\n")[0].strip()


def language(step: dict[str, Any]) -> Any:
    """Where Open X keeps it: `language_instruction`, of the step or its observation, or `natural_language_...`."""
    for place in (step, step.get("observation") or {}):
        for key in ("language_instruction", "natural_language_instruction"):
            if key in place:
                return place[key]
    raise ValueError(f"no language_instruction; the keys are {', '.join(map(repr, step))[:200]}")


def _by_number(name: str) -> tuple[list[int], str]:
    """`im_2.jpg` comes before `im_10.jpg`."""
    return [int(number) for number in re.findall(r"\d+", name)], name
