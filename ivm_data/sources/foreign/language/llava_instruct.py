"""LLaVA-Instruct (Liu et al. 2023): `llava_instruct_150k.json`, `llava_v1_5_mix665k.json` and their like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.json_stream import stream
from storage.common.validation import Checked, Natural


@dataclass(frozen=True)
class LlavaInstructConfig(Checked):
    """Which file.

    Attributes:
        conversations: a JSON list of conversations.
        images: folder of the image files, relative to the image root; "" where the file names them from there.
        turns: questions of a conversation that are taken, from its first; 0 for all. Later ones often lean on the
            answers before them ("What is it made of?").
    """

    conversations: str
    images: str = "coco/train2017"
    turns: Natural = 1


def read_llava_instruct(config: LlavaInstructConfig) -> Iterator[Record]:
    """LLaVA-Instruct: what the human says of an image is the instruction; nothing is labeled.

    Reads: llava_instruct_150k.json, llava_v1_5_mix665k.json
    """
    path = existing(config.conversations, "conversations")
    for position, node in enumerate(stream(path)):
        yield from checked(f"{path.name}: [{position}]", _pairs, node.value, config)


def _pairs(row: dict[str, Any], config: LlavaInstructConfig) -> Iterator[ForeignPair]:
    """A conversation without an image is about none."""
    if "image" not in row:
        return
    questions = [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
    for question in questions[: config.turns or None]:
        yield ForeignPair(
            image_path(config.images, row["image"]), question.replace("<image>", "").strip(), kind="question"
        )
